"""Corpora for tests, written as the stage writes them."""

import zstandard

from llmctl.core.artifacts.corpus import CorpusWriter
from llmctl.core.artifacts.documents import to_line


def write_corpus(directory, documents, dropped=()):
    """Write documents, and (document, verdict) pairs, into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    part = directory / "part.zst"
    with CorpusWriter(directory) as writer:
        for document in documents:
            line = to_line(document)
            part.write_bytes(zstandard.compress(line))
            writer.add_kept(part, len(line))
        for document, verdict in dropped:
            line = to_line(document, **verdict)
            part.write_bytes(zstandard.compress(line))
            writer.add_dropped(part, len(line))
    part.unlink(missing_ok=True)
    return directory


class MadeCorpus:
    """Collects documents and verdicts, and writes them at its end."""

    def __init__(self, directory):
        self._directory = directory
        self._kept, self._dropped = [], []

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        write_corpus(self._directory, self._kept, self._dropped)

    def keep(self, document):
        """Take in a kept document."""
        self._kept.append(document)

    def drop(self, document, rule, value, threshold, **more):
        """Take in a dropped one."""
        verdict = {"rule": rule, "value": value, "threshold": threshold, **more}
        self._dropped.append((document, verdict))
