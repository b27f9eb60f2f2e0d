"""Encoded units: read as they were written, empty documents included; damage refused."""

from __future__ import annotations

import numpy as np
import pytest

from llmctl.core.artifacts.encoded_units import EncodedDocuments, EncodedUnit
from llmctl.core.errors import DataError

DOCUMENTS = [[1, 2, 3], [], [70_000], [], [4, 4]]


def unit(documents):
    ids = np.array([token for document in documents for token in document], dtype=np.uint32)
    return EncodedUnit(np.array([len(document) for document in documents], np.uint64), ids)


def read_back(folder, documents):
    unit(documents).write(folder / "unit.bin")
    return EncodedUnit.read(folder / "unit.bin", len(documents))


@pytest.mark.parametrize(
    "documents",
    [
        pytest.param(DOCUMENTS, id="empty ones between"),
        pytest.param([[], []], id="none with tokens"),
    ],
)
def test_round_trip(tmp_path, documents):
    found = EncodedDocuments([read_back(tmp_path, documents)])

    assert [found[number].tolist() for number in range(len(documents))] == documents


def test_documents_are_numbered_through_all_units(tmp_path):
    (tmp_path / "b").mkdir()
    found = EncodedDocuments([read_back(tmp_path, DOCUMENTS[:2]), unit(DOCUMENTS[2:])])

    assert [found[number].tolist() for number in range(5)] == DOCUMENTS
    assert found.lengths_D.tolist() == [3, 0, 1, 0, 2]


def test_occurrences_are_counted_over_all_units():
    found = EncodedDocuments([unit([[1, 2]]), unit([[], [2, 2]])])

    assert found.occurrences(4).tolist() == [0, 1, 3, 0]


@pytest.mark.parametrize(
    ("change", "num_documents"),
    [
        pytest.param(lambda content: content[:-4], 5, id="cut off"),
        pytest.param(lambda content: content + b"\x00" * 4, 5, id="too long"),
        pytest.param(lambda content: content, 4, id="of other documents"),
        pytest.param(lambda content: b"", 5, id="empty"),
    ],
)
def test_refuses_damage(tmp_path, change, num_documents):
    path = tmp_path / "unit.bin"
    unit(DOCUMENTS).write(path)
    path.write_bytes(change(path.read_bytes()))

    with pytest.raises(DataError, match=r"unit\.bin: damaged; remove it"):
        EncodedUnit.read(path, num_documents)
