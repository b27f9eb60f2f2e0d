"""nanoGPT's and datatrove's files: where each file of shards goes, and what stands beside it."""

from __future__ import annotations

import pytest

from llmctl.core.artifacts import datatrove_files, nanogpt_files


@pytest.mark.parametrize(
    ("target", "place", "expected"),
    [
        (nanogpt_files.target, ("train", 0, ".bin"), "train.bin"),
        (nanogpt_files.target, ("train", 7, ".bin"), "train.bin"),
        (nanogpt_files.target, ("validation", 0, ".bin"), "val.bin"),
        (nanogpt_files.target, ("train", 0, ".ends"), None),
        (nanogpt_files.target, ("train", 0, ".mask"), None),
        (datatrove_files.target, ("train", 0, ".bin"), "train/00000.ds"),
        (datatrove_files.target, ("validation", 12, ".bin"), "validation/00012.ds"),
        (datatrove_files.target, ("train", 3, ".ends"), "train/00003.ds.index"),
        (datatrove_files.target, ("train", 3, ".mask"), "train/00003.ds.loss"),
    ],
)
def test_each_file_has_its_place(target, place, expected):
    assert target(*place) == expected


@pytest.mark.parametrize(
    ("num_tokens", "token_bytes", "expected"),
    [
        (0, 2, "tokenizer.json|2\n0\n0.00 T"),
        (999, 2, "tokenizer.json|2\n999\n999 T"),
        (12_345, 4, "tokenizer.json|4\n12345\n12.3 kT"),
        (999_999, 2, "tokenizer.json|2\n999999\n1.00 MT"),
        (9_035_582_198, 4, "tokenizer.json|4\n9035582198\n9.04 GT"),
    ],
)
def test_metadata_are_three_lines(num_tokens, token_bytes, expected):
    assert datatrove_files.metadata(num_tokens, token_bytes).decode() == expected


def test_the_line_for_people_is_that_of_datatrove():
    humanize = pytest.importorskip("humanize", reason="datatrove is not installed")

    for num_tokens in (number * 10**power + 1 for number in range(1, 100) for power in range(15)):
        line = datatrove_files.metadata(num_tokens, 2).decode().splitlines()[2]
        assert line == humanize.metric(num_tokens, unit="T")
