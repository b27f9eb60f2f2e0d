"""Encoded units: written whole, gathered in any order, damage told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.errors import DataError
from llmctl.core.tokenizing.encoded_units import EncodedDocuments, Sequences, UnitFiles
from llmctl.core.tokenizing.string_columns import StringColumn

U2 = np.dtype("<u2")
END = 9


def write(folder, name, documents, mask=None, is_end_learned=None, sequences=None):
    files = UnitFiles(folder, name)
    size = len(documents)
    known = Sequences(
        StringColumn.of([f"{name}/{number}" for number in range(size)]),
        StringColumn.of(["文"]),
        np.zeros(size, np.int64),
        np.arange(size, dtype=np.uint64),
        np.full(size, 3),
        np.array([len(ids) for ids in documents], np.int64),
        np.array(sequences or [0] * size, np.uint8),
        np.array(is_end_learned or [True] * size, bool),
        num_unlearned=1,
    )
    files.write(np.array([token for ids in documents for token in ids], dtype=U2), mask, known)
    return files


UNITS = [
    ("000-00000-00000", [[1, 2], [], [3]]),
    ("000-00000-00001", []),
    ("001-00000-00000", [[4]]),
]


@pytest.fixture
def encoded(tmp_path):
    return EncodedDocuments([write(tmp_path, *unit) for unit in UNITS], U2)


def test_documents_are_gathered_in_any_order_and_more_than_once(encoded):
    ids, mask, lengths = encoded.gathered(np.array([3, 0, 1, 3]), END)

    assert ids.tolist() == [4, END, 1, 2, END, END, 4, END]
    assert ids.dtype == U2
    assert mask is None
    assert lengths.tolist() == [2, 3, 1, 2]
    assert encoded.gathered(np.array([], dtype=np.int64), END)[0].tolist() == []


def test_what_is_known_of_each(encoded):
    assert encoded.corpora_D.tolist() == [0, 0, 0, 1]
    assert list(encoded.sequences.ids)[-1] == "001-00000-00000/0"
    assert list(encoded.sequences.sources) == ["文"]
    assert encoded.sequences.num_unlearned == len(UNITS)
    assert encoded.ids_of(0).tolist() == [1, 2]
    assert [(unit.first_document, unit.ids.tolist()) for unit in encoded.units()] == [
        (0, [1, 2, 3]), (3, []), (3, [4]),
    ]  # fmt: skip


def test_masks_are_gathered_too(tmp_path):
    units = [
        write(tmp_path, "000-0-0", [[1, 2], [3]], np.array([0, 1, 1]), [True, False]),
        write(tmp_path, "000-0-1", [[5, 6]]),
    ]
    encoded = EncodedDocuments(units, U2)

    ids, mask, lengths = encoded.gathered(np.array([2, 1, 0]), END)

    assert encoded.content == "conversation"
    assert ids.tolist() == [5, 6, END, 3, END, 1, 2, END]
    assert mask.tolist() == [1, 1, 1, 1, 0, 0, 1, 1]
    assert lengths.tolist() == [3, 2, 3]


def test_preferences_are_told_by_their_second_sequence(tmp_path):
    mask = np.array([1, 1])
    unit = write(tmp_path, "000-0-0", [[1], [2]], mask, sequences=[0, 1])
    other = write(tmp_path, "000-0-1", [[5, 6]])

    assert EncodedDocuments([unit], U2).content == "preference"
    with pytest.raises(DataError, match="1 documents have a chosen and a rejected answer, and 1"):
        EncodedDocuments([unit, other], U2)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.integers(0, 8), max_size=4), max_size=4), min_size=1, max_size=4),
    st.data(),
)
def test_gathering_is_picking_one_by_one(tmp_path_factory, units, data):
    folder = tmp_path_factory.mktemp("units")
    files = [write(folder, f"000-0-{number}", unit) for number, unit in enumerate(units)]
    documents = [ids for unit in units for ids in unit]
    order = data.draw(
        st.lists(st.integers(0, max(len(documents) - 1, 0)), max_size=6 * bool(documents))
    )

    ids, _, _ = EncodedDocuments(files, U2).gathered(np.array(order, dtype=np.int64), END)

    assert ids.tolist() == [token for number in order for token in [*documents[number], END]]


@pytest.mark.parametrize("ending", [".ids", ".npz"])
def test_damage_is_told(tmp_path, ending):
    files = write(tmp_path, *UNITS[0])
    path = tmp_path / f"{files.name}{ending}"
    path.write_bytes(path.read_bytes()[:-3])

    with pytest.raises(DataError, match=f"{ending}: damaged; remove it and run"):
        EncodedDocuments([files], U2)
