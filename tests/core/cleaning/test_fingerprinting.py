"""Fingerprints into files of a few megabytes, and those of an earlier corpus."""

import pytest
from made_corpus import write_corpus

from llmctl.core.artifacts.documents import Document
from llmctl.core.artifacts.fingerprint_units import FingerprintUnits
from llmctl.core.clean_plan import DuplicatesPlan
from llmctl.core.cleaning import fingerprinting
from llmctl.core.cleaning.fingerprinting import fingerprint_corpus, unit_of, write_fingerprints
from llmctl.core.errors import MissingInputError
from llmctl.core.text.fingerprints import Fingerprinter

PLAN = DuplicatesPlan()


def test_documents_are_divided_into_units_of_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprinting, "_UNIT_CHARACTERS", 98)
    documents = [(f"id {number}", "word " * 9) for number in range(7)]

    paths = write_fingerprints(iter(documents), PLAN, tmp_path / "units")

    assert [len(unit) for _, unit in FingerprintUnits(paths)] == [2, 2, 2, 1]
    units = FingerprintUnits(paths)
    assert [units.identifier(number) for number in range(7)] == [each for each, _ in documents]


def test_no_documents_make_no_units(tmp_path):
    assert write_fingerprints([], PLAN, tmp_path) == ()


def test_an_earlier_corpus_is_taken_in_by_its_kept_documents(tmp_path):
    kept = Document("诗", "source", "zh", "床前明月光，疑是地上霜。")
    verdict = {"rule": "rule", "value": 1.0, "threshold": 1.0}
    dropped = (Document("b", "source", "en", "text"), verdict)
    corpus = write_corpus(tmp_path / "corpus", [kept], [dropped])

    earlier = fingerprint_corpus(corpus, "../corpus", PLAN, tmp_path / "units")

    units = FingerprintUnits(earlier.units)
    assert earlier.name == "../corpus"
    assert len(units) == 1
    assert units.identifier(0) == "诗"
    assert len(units.shingles(0)) == 6


def test_refuses_what_is_no_corpus(tmp_path):
    with pytest.raises(MissingInputError, match="no corpus here"):
        fingerprint_corpus(tmp_path, "old", PLAN, tmp_path / "units")


def test_refuses_more_ids_than_documents():
    with pytest.raises(ValueError, match="0 fingerprints of 1 documents"):
        unit_of(Fingerprinter(PLAN).finish(), ["a"])


def test_between_may_end_it_early(tmp_path):
    def ends():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_fingerprints([("a", "b")], PLAN, tmp_path, ends)
