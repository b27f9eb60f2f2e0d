"""vocabulary_facts: a vocabulary whose entries can be named one by one."""

from __future__ import annotations

import numpy as np
import pytest
from made_vocabulary import MIXED, PART, SHI, WORLD, byte, made_facts

from llmctl.core.artifacts.shards_facts import TokenEntry, TokenKind
from llmctl.core.tokenizing.vocabulary_facts import MAX_LISTED, vocabulary_facts


def facts_of(**counts):
    occurrences = np.zeros(269, dtype=np.int64)
    for token, count in counts.items():
        occurrences[int(token.removeprefix("id"))] = count
    return vocabulary_facts(made_facts(), occurrences)


def test_lists_the_longest_and_the_most_frequent_as_people_read_them():
    facts = facts_of(id261=3, id257=9, id98=3)

    assert (facts.size, facts.entries) == (269, 269)
    assert facts.most_frequent == [
        TokenEntry(PART, "<0xE4><0xB8>", 2, 9),
        TokenEntry(byte(ord("a")), "a", 1, 3),
        TokenEntry(WORLD, "世界", 6, 3),
    ]
    longest = [entry.text for entry in facts.longest]
    assert longest[:5] == ["世界", "a世", " h", "12", "a1"]
    assert not {"  ", "!!", "!", "<0xE4>"} & {*longest}
    assert len(facts.longest) == MAX_LISTED
    assert [entry.text for entry in facts.longest_han] == ["世界", "世", "界"]


def test_names_what_is_never_used():
    facts = facts_of(id1=1, id2=1, id258=1)

    assert facts.unused == 267 - 3
    assert [entry.id for entry in facts.unused_entries] == [257, *range(259, 268)]


def test_every_entry_has_one_kind():
    kinds = {kind.kind: kind for kind in facts_of(id261=3, id258=2, id268=5).kinds}

    assert kinds == {
        # 28, 29, 30 and 31 are blanks to Unicode
        "blanks": TokenKind("blanks", 11, 11, 0),
        "Han": TokenKind("Han", 3, 1, 5),
        "Latin words": TokenKind("Latin words", 53, 53, 0),
        "digits": TokenKind("digits", 11, 11, 0),
        "punctuation and symbols": TokenKind("punctuation and symbols", 57, 57, 0),
        "others": TokenKind("others", 2, 2, 0),
        "parts of characters": TokenKind("parts of characters", 130, 130, 0),
        "special tokens": TokenKind("special tokens", 2, 1, 5),
    }
    assert sum(kind.entries for kind in kinds.values()) == 269
    assert made_facts().tokenizer.piece(MIXED) == "a世"
    assert made_facts().tokenizer.piece(SHI) == "世"


def test_refuses_counts_of_another_vocabulary():
    with pytest.raises(ValueError, match="3 counts of 269 entries"):
        vocabulary_facts(made_facts(), np.zeros(3, dtype=np.int64))
