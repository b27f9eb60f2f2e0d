"""Fingerprints of documents and their ids, put together."""

import pytest

from llmctl.core.clean_plan import DuplicatesPlan
from llmctl.core.cleaning.fingerprinting import unit_of
from llmctl.core.text.fingerprints import Fingerprinter


def test_a_document_is_found_by_its_id(tmp_path):
    fingerprinter = Fingerprinter(DuplicatesPlan())
    for text in ("床前明月光，疑是地上霜。", "word " * 9):
        fingerprinter.add(text)

    unit = unit_of(fingerprinter.finish(), ["诗", ""])

    assert [unit.identifier(number) for number in range(2)] == ["诗", ""]
    assert [len(unit.shingles(number)) for number in range(2)] == [6, 1]


def test_refuses_more_ids_than_documents():
    with pytest.raises(ValueError, match="0 fingerprints of 1 documents"):
        unit_of(Fingerprinter(DuplicatesPlan()).finish(), ["a"])
