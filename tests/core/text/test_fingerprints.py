"""Fingerprints: what makes two texts equal, and that neighbours change nothing."""

import numpy as np
import pytest

from llmctl.core.clean_plan import DuplicatesPlan
from llmctl.core.text import fingerprints as subject
from llmctl.core.text.fingerprints import Fingerprinter
from llmctl.core.text.near_duplicates import NUM_HASHES
from llmctl.core.text.repeated_lines import line_hashes

TEXTS = [
    "One two three four five six.\nA line\nA line",
    "",
    "机器学习是人工智能的一个分支。",
    "！？",
    "a",
]


def taken(texts, **plan):
    fingerprinter = Fingerprinter(DuplicatesPlan(**plan))
    for text in texts:
        fingerprinter.add(text)
    assert len(fingerprinter) == len(texts)
    return fingerprinter.finish()


def test_digests_are_blind_to_case_width_and_space_only():
    found = taken(["Hello，  World", "hello, world\n", "hello. world", "\ud800", "?"]).digests_N2

    assert found[0].tolist() == found[1].tolist()
    assert len(np.unique(found, axis=0)) == 4


def test_lengths_are_characters():
    assert taken(["…", "ﬁ", "ß"]).lengths_N.tolist() == [1, 1, 1]
    assert taken(TEXTS).lengths_N.tolist() == [len(text) for text in TEXTS]


def test_each_measure_has_what_it_needs():
    jaccard, contained = taken(TEXTS), taken(TEXTS, measure="containment")
    exact = taken(TEXTS, similarity=None)

    assert jaccard.signatures_NH.shape == (5, NUM_HASHES)
    assert contained.signatures_NH.shape == exact.signatures_NH.shape == (5, 0)
    assert jaccard.shingles_S.tolist() == contained.shingles_S.tolist()
    assert np.diff(jaccard.shingle_ends_N, prepend=0).tolist() == [6, 0, 10, 0, 1]
    assert exact.shingle_ends_N.tolist() == [0] * 5
    assert exact.digests_N2.tolist() == jaccard.digests_N2.tolist()


def test_lines_are_taken_when_asked_for():
    found = taken(TEXTS, max_line_documents=3, min_line_characters=6)

    assert found.line_ends_N.tolist() == [2, 2, 3, 3, 3]
    assert found.lines_L[:2].tolist() == line_hashes(TEXTS[0], 6).tolist()
    assert taken(TEXTS).line_ends_N.tolist() == [0] * 5


@pytest.mark.parametrize("size", [1, 10, 60])
def test_batches_change_nothing(size, monkeypatch):
    texts = TEXTS * 3
    whole = taken(texts)

    monkeypatch.setattr(subject, "PIECE_CHARACTERS", size)

    found = taken(texts)
    for name in subject.Fingerprints.__dataclass_fields__:
        assert getattr(found, name).tolist() == getattr(whole, name).tolist(), name


def test_no_documents():
    found = taken([])

    assert len(found) == 0
    assert found.digests_N2.shape == (0, 2)
    assert found.signatures_NH.shape == (0, NUM_HASHES)
