"""Spill: records come back by part, in parts ordered by their hash."""

import numpy as np
import pytest

from llmctl.core.cleaning import spill
from llmctl.core.cleaning.spill import Spill

DTYPE = np.dtype([("key", "<u8"), ("number", "<u4")])


@pytest.mark.parametrize("part_records", [1, 7, 1000])
def test_all_records_come_back_once_in_parts_of_rising_hashes(tmp_path, monkeypatch, part_records):
    monkeypatch.setattr(spill, "PART_RECORDS", part_records)
    records = np.zeros(100, DTYPE)
    records["key"] = np.random.default_rng(1).integers(0, 2**64, 100, np.uint64)
    records["key"][:2] = 0, 2**64 - 1
    records["number"] = np.arange(100)
    subject = Spill(tmp_path / "spill", DTYPE, 100)

    for start in range(0, 100, 9):
        part = records[start : start + 9]
        subject.add_by_hash(part, part["key"])
    found = [np.sort(subject.part(number)) for number in range(subject.num_parts)]

    assert subject.num_parts == -(-100 // part_records)
    assert np.concatenate(found).tolist() == np.sort(records).tolist()
    assert not list((tmp_path / "spill").iterdir())


def test_a_part_without_records_is_empty(tmp_path):
    subject = Spill(tmp_path / "spill", DTYPE, 0)

    assert subject.num_parts == 1
    assert len(subject.part(0)) == 0
