"""Model → report: how well it predicts text it has not seen; texts → BLEU, chrF and ROUGE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from llmctl import __version__
from llmctl.core import atomic
from llmctl.core.artifacts.documents import Document
from llmctl.core.artifacts.evaluation_report import (
    Training,
    evaluation_markdown,
    evaluation_page,
)
from llmctl.core.artifacts.report import write_report
from llmctl.core.artifacts.row_log import RowLog
from llmctl.core.artifacts.shards import TokenShards, TokenSplit
from llmctl.core.artifacts.sources import STANDARD_INPUT, Source
from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.language_model.document_scoring import LANGUAGE_CHARACTERS, score_documents
from llmctl.core.manifest import Manifest
from llmctl.core.progress import Progress
from llmctl.core.recipe import EvalPlan
from llmctl.core.scores.bleu import bleu, chrf
from llmctl.core.scores.compression import (
    PIECE_BYTES,
    WINDOW_BYTES,
    primed_xz_bits_per_byte,
    xz_bits_per_byte,
)
from llmctl.core.scores.documents import (
    Bootstrap,
    DocumentScore,
    figures_by_language,
    figures_of,
)
from llmctl.core.scores.rouge import rouge
from llmctl.core.text.language import language_of
from llmctl.core.tokens.tokenizer import END_OF_TEXT, Tokenizer
from llmctl.core.workspace import Workspace

if TYPE_CHECKING:
    from llmctl.core.language_model.language_model import LanguageModel

# One type everywhere, so that the figures of two machines compare.
SCORING_DTYPE = "float32"
# Of the compressor's window, what the compressed text may take; the training text has the rest.
MAX_COMPRESSED_BYTES = WINDOW_BYTES // 4
NUM_EXTREMES = 3
# The shortest documents are the extremes of every model, and tell nothing.
MIN_SAMPLE_BYTES = 200
SAMPLE_CHARACTERS = 700


def evaluate(
    plan: EvalPlan,
    model: Path,
    shards: Path,
    workspace: Workspace,
    *,
    seed: int,
    device: str = "auto",
    progress: Progress,
) -> Manifest:
    """Score a model on the validation split and on the plan's files, and write the report.

    Args:
        plan: Files, intervals, compression.
        model: A model directory; the record of its training is shown where it is there.
        shards: Text to score, and the training text that a compressor is primed with.
        workspace: Where the report grows.
        seed: Decides the bootstrap's draws.
        device: auto, cpu, cuda or mps.
        progress: Told of every document; asked for an early end between units of work.

    Raises:
        MissingInputError: A file of the plan, the model or the shards is not there.
        DataError: One of them is damaged or holds no text.
        NumericsError: The model gives a document no finite likelihood.
        DeviceError: The device is not here.
    """
    bootstrap, units = Bootstrap(plan.bootstrap_samples, seed), workspace.units
    files = [(path, read_texts(Path(path))) for path in plan.data]
    token_shards = TokenShards.open(shards)
    token_shards.require_content("to score a model by", "text")
    tokenizer = Tokenizer.from_file(token_shards.tokenizer_path, lossless=True)
    texts = SplitTexts(token_shards.split("validation"), tokenizer)
    if not any(texts):
        raise DataError(
            f"{shards}: the validation split holds no text; raise tokenize.validation_share"
        )
    language_model = open_model(model, device=device)
    scores = score_documents(language_model, texts, progress, units / "validation")
    validation = figures_of(scores, bootstrap)
    made = _how_made(language_model, bootstrap)
    made["model"] = f"key {workspace.identity.parents.get('model', 'unknown')[:12]}"
    if plan.compression:
        training_texts = SplitTexts(token_shards.split("train"), tokenizer)
        found, made["compression"] = _compress(training_texts, texts, progress, units)
        validation |= found
    data: list[dict[str, Any]] = []
    for index, (path, file_texts) in enumerate(files):
        found = score_documents(language_model, file_texts, progress, units / f"data-{index}")
        data.append({"path": path, **figures_of(found, bootstrap)})
    report = {
        "name": workspace.target.absolute().parent.name,
        "model": {
            "parameters": sum(weight.numel() for weight in language_model.model.parameters()),
            "vocab_size": language_model.tokenizer.vocab_size,
            "context_tokens": language_model.model.context_tokens,
        },
        "validation": validation,
        "languages": figures_by_language(scores, bootstrap),
        "data": data,
        "made": made,
    }
    samples = list(_extremes(scores, texts))
    write_report(
        workspace.result,
        report,
        markdown=evaluation_markdown(report),
        page=evaluation_page(report, samples, _training(model)),
        samples=samples,
    )
    counts = {name: value for name, value in validation.items() if value is not None}
    if data:
        counts["data"] = {entry["path"]: entry["bits_per_byte"] for entry in data}
    return workspace.publish(counts, device=str(language_model.device))


def evaluate_files(
    model: Path,
    data: Sequence[Path],
    *,
    device: str = "auto",
    bootstrap_samples: int,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Score text files with a model, without a recipe.

    Args:
        model: A model directory.
        data: A text file is one document, JSON Lines has one in each `text` field; "-" is
            standard input.
        device: auto, cpu, cuda or mps.
        bootstrap_samples: Resamples behind each interval; 0 for none.
        seed: Decides them.
        progress: Told of every document.

    Returns:
        The figures of each file, and how they were made.

    Raises:
        MissingInputError: A file or the model is not there.
        DataError: One of them is damaged or holds no text.
        NumericsError: The model gives a document no finite likelihood.
        DeviceError: The device is not here.
    """
    bootstrap = Bootstrap(bootstrap_samples, seed)
    files = [(path, read_texts(path)) for path in data]
    language_model = open_model(model, device=device)
    scored = [
        {
            "path": str(path),
            **figures_of(score_documents(language_model, texts, progress), bootstrap),
        }
        for path, texts in files
    ]
    return {"data": scored, "made": {**_how_made(language_model, bootstrap), "model": str(model)}}


def evaluate_hypotheses(
    hypotheses: Path, references: Sequence[Path], language: str | None = None
) -> dict[str, Any]:
    """Compare texts with what they should say, line by line.

    Args:
        hypotheses: A text a line.
        references: One or several files, each with a text for each of those lines.
        language: Of the texts, e.g. "zh"; None finds it out from the references.

    Returns:
        BLEU, chrF and ROUGE, each with the signature that makes it repeatable.

    Raises:
        MissingInputError: A file is not there.
        DataError: One is empty or not UTF-8, or the numbers of lines differ.
    """
    texts = _lines(hypotheses)
    targets = [_lines(path) for path in references]
    for path, target in zip(references, targets, strict=True):
        if len(target) != len(texts):
            raise DataError(
                f"{hypotheses} has {len(texts)} lines and {path} has {len(target)}; "
                "line n of one must belong to line n of the other"
            )
    beginning = "\n".join(line for target in targets for line in target)[:LANGUAGE_CHARACTERS]
    used = language or language_of(beginning)
    return {
        "language": used,
        "lines": len(texts),
        "references": len(targets),
        "bleu": asdict(bleu(texts, targets, used)),
        "chrf": asdict(chrf(texts, targets)),
        "rouge": asdict(rouge(texts, targets, used)),
    }


def open_model(path: Path, *, device: str) -> LanguageModel:
    """Load a model in the type that scores are computed in."""
    # Here, because comparing texts needs no torch, which takes seconds to load.
    from llmctl.core.language_model.language_model import LanguageModel

    return LanguageModel.load(path, device=device, dtype=SCORING_DTYPE)


class SplitTexts(Sequence[str]):
    """The documents of a token split as texts, each decoded when it is asked for."""

    def __init__(self, split: TokenSplit, tokenizer: Tokenizer) -> None:
        self._split = split
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return self._split.num_documents

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._tokenizer.decode(self._split.document(index).tolist())


def read_texts(path: Path) -> list[str]:
    """Return the documents of a text file, of JSON Lines, or of standard input ("-").

    Raises:
        MissingInputError: There is no such file.
        DataError: A part of it cannot be read, or it holds no text.
    """
    is_standard_input = str(path) == STANDARD_INPUT
    if path.is_dir():
        raise MissingInputError(f"{path}: a directory; expected a text file or JSON Lines")
    texts: list[str] = []
    source = Source(str(path), "standard input" if is_standard_input else "file", path)
    with source.open() as reader:
        for found in reader:
            if not isinstance(found, Document):
                raise DataError(
                    f"{found.place}: {found.reason}; a score is of the whole file: mend it first"
                )
            if found.messages is not None or found.pair is not None:
                raise DataError(f"{found.id}: messages or a pair; only text is scored")
            texts.append(found.text)
    if not any(texts):
        raise DataError(f"{path}: holds no text to score")
    return texts


def _compress(
    training_texts: Iterable[str], texts: Iterable[str], progress: Progress, units: Path
) -> tuple[dict[str, float], str]:
    """Return what xz needs for the texts, alone and primed, and how that was found."""
    path = units / "compression.json"
    if not path.exists():
        text = _beginning(texts, MAX_COMPRESSED_BYTES)
        primer = _beginning(training_texts, WINDOW_BYTES - len(text))
        progress.begin("compress", 2 * (len(primer) + len(text)) / 1e6, "MB")
        try:
            found = {
                "xz_bits_per_byte": xz_bits_per_byte(_Watched(text, progress)),
                "xz_primed_bits_per_byte": primed_xz_bits_per_byte(
                    _Watched(primer, progress), _Watched(text, progress)
                ),
            }
        finally:
            progress.end()
        how = (
            f"the first {len(text):,} bytes of the validation split by preset 9, headers "
            f"included; primed with the first {len(primer):,} bytes of the training split: the "
            "length of both less that of the training text"
        )
        atomic.write_file(path, orjson.dumps([found, how]))
    found, how = orjson.loads(path.read_bytes())
    return found, how


def _beginning(texts: Iterable[str], max_bytes: int) -> bytes:
    text = bytearray()
    for piece in texts:
        text += piece.encode()
        if len(text) >= max_bytes:
            break
    return bytes(text[:max_bytes])


class _Watched:
    """A text in pieces, which may be read twice; the work may end between two."""

    def __init__(self, text: bytes, progress: Progress) -> None:
        self._text = text
        self._progress = progress

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._text), PIECE_BYTES):
            self._progress.check()
            piece = self._text[start : start + PIECE_BYTES]
            yield piece
            self._progress.advance(len(piece) / 1e6)


def _how_made(model: LanguageModel, bootstrap: Bootstrap) -> dict[str, Any]:
    context = model.model.context_tokens
    interval = (
        f"95 %, percentile bootstrap over documents, {bootstrap.num_samples:,} samples, "
        f"seed {bootstrap.seed}"
    )
    return {
        "unit": "bits per byte of UTF-8: the sum of nats over ln 2 times the sum of bytes",
        "scored": "every token of every document, each document by itself",
        "window": f"{context:,} tokens; the tokens scored in one window and in the next are "
        "disjoint, and the last window of a document is a full one where the document allows",
        "prefix": f"{END_OF_TEXT} before the first token of a document; not scored itself",
        "interval": interval if bootstrap.num_samples else "none asked for",
        "compression": "",
        "dtype": SCORING_DTYPE,
        "device": str(model.device),
        "llmctl": __version__,
    }


def _extremes(scores: Sequence[DocumentScore], texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the documents that cost most and least for their length, worst first."""
    order = [index for index, score in enumerate(scores) if score.num_bytes > 0]
    long_enough = [index for index in order if scores[index].num_bytes >= MIN_SAMPLE_BYTES]
    if len(long_enough) >= 2 * NUM_EXTREMES:
        order = long_enough
    order.sort(key=lambda index: (-scores[index].bits_per_byte, index))
    count = min(NUM_EXTREMES, len(order) // 2)
    chosen = [("hardest", index) for index in order[:count]]
    chosen += [("easiest", index) for index in reversed(order[len(order) - count :])]
    for kind, index in chosen:
        score, text = scores[index], texts[index]
        yield {
            "kind": kind,
            "document": index,
            "bits_per_byte": score.bits_per_byte,
            "tokens": score.num_tokens,
            "bytes": score.num_bytes,
            "language": score.language,
            "text": text[:SAMPLE_CHARACTERS],
            "is_cut": len(text) > SAMPLE_CHARACTERS,
        }


def _training(model: Path) -> Training:
    samples = [
        {**row, "language": language_of(str(row["prompt"]) + str(row["text"]))}
        for row in RowLog(model / "samples.jsonl").rows()
    ]
    return Training(list(RowLog(model / "metrics.jsonl").rows()), samples)


def _lines(path: Path) -> list[str]:
    """Return a file's lines without their ends.

    Only a line feed ends a line: str.splitlines would also cut at characters that stand
    inside texts, and pair every later line with the wrong one.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise MissingInputError(f"{path}: {error.strerror}; expected a text file") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"{path}: empty; expected a text a line")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
