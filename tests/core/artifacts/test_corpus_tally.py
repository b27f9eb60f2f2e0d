"""The tally: counted by hand, then added up from any parts to the same bytes."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.artifacts import corpus_tally
from llmctl.core.artifacts.corpus_tally import MAX_PLACES, Cluster, CorpusTally
from llmctl.core.artifacts.documents import Document, Unreadable
from llmctl.core.artifacts.large_shares import LargeShare, large_shares
from llmctl.core.clean_plan import QualityRules

RULES = QualityRules(min_words=50, max_words=1000, max_repeated_line_share=0.3)


def document(number=1, language="zh", source="源.txt", text="天地玄黄"):
    return Document(f"id{number}", source, language, text)


def content(tally):
    return orjson.dumps(tally.as_json())


def test_counts_by_language_and_source():
    tally = CorpusTally()
    tally.keep(document(1))
    tally.keep(document(2, "en", text="two"), times=3)
    tally.drop(document(3), "min_words", 4, 50)
    tally.drop(document(4, source="b"), "min_words", 4, 50)
    tally.fail("b", Unreadable("b:2", "not JSON"))
    tally.private("email", "zh", "源.txt", 2)

    counts = tally.all
    assert (counts.total, counts.kept, counts.num_dropped, counts.unreadable) == (5, 2, 2, 1)
    assert (counts.kept_characters, counts.dropped_characters) == (4 + 3, 8)
    assert (counts.repeats, counts.repeated_characters) == (2, 6)
    assert list(tally.languages) == ["en", "zh"]
    assert tally.languages["zh"].as_json() == {
        "documents": 3,
        "kept": 1,
        "dropped": {"min_words": 2},
        "unreadable": 0,
        "kept_characters": 4,
        "dropped_characters": 8,
        "dropped_characters_by_rule": {"min_words": 8},
        "private": {"email": 2},
    }
    assert tally.sources["b"].total == 2
    assert tally.sources["源.txt"].kept == 2
    assert sum(counts.total for _, _, counts in tally.groups()) == tally.all.total


def test_a_sample_tells_what_was_measured():
    tally = CorpusTally()
    text = "长" * 1000

    tally.drop(document(text=text), "near_duplicate", 0.9, 0.8, duplicate_of="id0")

    [sample] = tally.dropped_samples()["near_duplicate"]["zh"]
    assert sample == {
        "id": "id1",
        "source": "源.txt",
        "value": 0.9,
        "threshold": 0.8,
        "duplicate_of": "id0",
        "characters": 1000,
        "text": text[: corpus_tally.SAMPLE_CHARACTERS],
    }


def test_samples_are_a_fair_draw_of_each_rule_and_language():
    tally, reverse = CorpusTally(), CorpusTally()
    for number in range(300):
        tally.drop(document(number), "min_words", number, 50)
        reverse.drop(document(299 - number), "min_words", 299 - number, 50)
    tally.drop(document(1, "en"), "min_words", 1, 50)

    drawn = tally.dropped_samples()["min_words"]
    assert [len(samples) for samples in drawn.values()] == [1, corpus_tally.SAMPLES_OF_A_RULE]
    assert drawn["zh"] == reverse.dropped_samples()["min_words"]["zh"]
    # The first ones would be drawn by chance once in two billion times.
    assert max(sample["value"] for sample in drawn["zh"]) >= 5


def test_first_changes_and_their_number():
    tally = CorpusTally()
    tally.changed("repair", "id1", "caf\u00c3\u00a9 is", "café is", language="en")
    tally.changed("repair", "id2", "same", "same")
    tally.changed("repair", "id3", " same\n\n", "same")

    [sample] = tally.change_samples()["repair"]["en"]
    assert (sample["id"], sample["before"], sample["deleted"], sample["inserted"]) == (
        "id1",
        "caf",
        "\u00c3\u00a9",
        "é",
    )
    assert dict(tally.num_changed) == {("repair", "en"): 1}


def test_a_report_tells_no_personal_data():
    tally = CorpusTally()
    before = "写信给 zhangsan@example.cn 或 lisi@example.cn"

    tally.changed("privacy", "id", before, "写信给 <EMAIL> 或 <EMAIL>", language="zh")

    [sample] = tally.change_samples()["privacy"]["zh"]
    assert sample["deleted"] == "zh••••••@•••••••.••"
    assert sample["inserted"] == "<EMAIL>"
    assert "lisi" not in str(sample)


def test_characters_that_changes_take_away():
    tally = CorpusTally()
    tally.changed("lines", "1", "kept\nPrivacy policy", "kept", language="en")
    tally.changed("lines", "2", "天地\n玄黄", "天地", language="zh")
    tally.changed("privacy", "2", "a@b.cn", "email@example.com", language="zh")

    assert dict(tally.num_cut) == {"lines": 15 + 3}
    assert tally.num_changed["lines", "zh"] == 1


def test_clusters_hits_and_places():
    tally = CorpusTally()
    for number in range(100):
        tally.cluster(f"id{number:02}", 2 + number % 4)
        tally.hits("gsm8k:1", f"id{number}", "Natalia sold clips")
    tally.hits("gsm8k:0", "id1")
    tally.fail("a", Unreadable("a:10", "not JSON: bad, column 7"))
    tally.fail("a", Unreadable("a:9", "not JSON: worse, column 12"))
    tally.fail("a", Unreadable("a", "a line of more than 256 MB"))

    assert dict(tally.cluster_sizes) == {2: 25, 3: 25, 4: 25, 5: 25}
    assert len(tally.largest_clusters()) == corpus_tally.MAX_CLUSTERS
    assert tally.largest_clusters()[0] == Cluster("id03", 5)
    assert list(tally.evaluation_hits()) == ["gsm8k:1", "gsm8k:0"]
    assert tally.evaluation_hits()["gsm8k:1"].num_documents == 100
    assert len(tally.evaluation_hits()["gsm8k:1"].draw.drawn()) == 3
    assert [mark.place for mark in tally.places()] == ["a", "a:9", "a:10"]
    assert dict(tally.reasons) == {"not JSON": 2, "a line of more than … MB": 1}


def test_lists_stay_short():
    tally = CorpusTally()
    for number in range(3 * MAX_PLACES, 0, -1):
        tally.fail("a", Unreadable(f"a:{number}", "not JSON"))

    assert [mark.place for mark in tally.places()] == [f"a:{n + 1}" for n in range(MAX_PLACES)]
    assert tally.all.unreadable == 3 * MAX_PLACES
    assert len(tally._places) == MAX_PLACES


def test_odd_file_names_become_text():
    tally = CorpusTally()
    odd = Document("\udcff", "\udcff.txt", "und", "a", {})
    tally.keep(odd)
    tally.drop(odd, "min_words", 1, 50)
    tally.fail("\udcff.txt", Unreadable("\udcff.txt", "\udcff"))
    tally.hits("\udcff", "\udcff", "\udcff")
    tally.cluster("\udcff", 2)
    tally.changed("repair", "\udcff", "a", "b")

    assert list(tally.sources) == ["?.txt"]
    assert content(CorpusTally.from_json(orjson.loads(content(tally)))) == content(tally)


# ------------------------------------------------------------------ any split

NAMES = st.sampled_from(["a", "b:1", "诗"])
LANGUAGES = st.sampled_from(["zh", "en", "und"])
NUMBERS = st.integers(0, 40)
TEXTS = st.text(alphabet="ab 天\n\u200b\x00", max_size=12)
DOCUMENTS = st.builds(document, NUMBERS, LANGUAGES, NAMES, TEXTS)
EVENTS = st.one_of(
    st.tuples(st.just("keep"), DOCUMENTS),
    st.tuples(st.just("drop"), DOCUMENTS, st.sampled_from(["min_words", "x"]), NUMBERS, NUMBERS),
    st.tuples(st.just("fail"), NAMES, st.builds(Unreadable, NAMES, TEXTS)),
    st.tuples(st.just("private"), NAMES, LANGUAGES, NAMES, NUMBERS),
    st.tuples(st.just("changed"), NAMES, NAMES, TEXTS, TEXTS),
    st.tuples(st.just("cluster"), NAMES, st.integers(2, 9)),
    st.tuples(st.just("hits"), NAMES, NAMES, TEXTS),
    st.tuples(
        st.just("measured"),
        LANGUAGES,
        st.dictionaries(
            st.sampled_from(["min_words", "max_words", "max_repeated_line_share"]),
            st.floats(0, 1e9),
        ),
        st.just(RULES),
    ),
)


def told(events):
    tally = CorpusTally()
    for name, *arguments in events:
        getattr(tally, name)(*arguments)
    return tally


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(EVENTS, st.integers(0, 3)), max_size=40),
    st.permutations(range(4)),
)
def test_any_parts_in_any_order_add_up_to_the_whole(pairs, order):
    whole = told(event for event, _ in pairs)
    total = CorpusTally()
    for part in order:
        events = [event for event, where in pairs if where == part]
        total.add_json(orjson.loads(content(told(events))))

    assert content(total) == content(whole)


def test_parts_may_be_many_more_than_what_is_kept_of_them():
    events = [("drop", document(n), "min_words", n, 50) for n in range(60)]
    events += [("cluster", f"c{n}", 2 + n % 7) for n in range(60)]
    total = CorpusTally()
    for event in reversed(events):
        total.add_json(told([event]).as_json())

    assert content(total) == content(told(events))


def test_order_within_a_document_or_place_is_nothing():
    pair = [("private", kind, "zh", "a", 1) for kind in ("email", "ip")]
    pair += [("drop", document(1), rule, 1, 2) for rule in ("y", "x")]
    pair += [("drop", document(1, text=text), "x", 1, 2) for text in "fedcba"]
    pair += [("fail", "a", Unreadable("a:1", reason)) for reason in "ba"]

    assert content(told(pair)) == content(told(reversed(pair)))


def test_measures_by_other_rules_do_not_add_up():
    first, second = CorpusTally(), CorpusTally()
    first.measured("zh", {"min_words": 3}, RULES)
    second.measured("zh", {"min_words": 3}, QualityRules(min_words=7))

    with pytest.raises(ValueError, match="histograms of zh with thresholds"):
        first.add_json(second.as_json())


# ------------------------------------------------------------------ large shares


def tally_of(*groups):
    tally = CorpusTally()
    for language, source, num_kept, num_dropped in groups:
        for number in range(num_kept):
            tally.keep(document(number, language, source))
        for number in range(num_dropped):
            tally.drop(document(number, language, source), "min_words", 1, 50)
    return tally


def test_large_shares_of_languages_and_sources():
    tally = tally_of(("zh", "a", 0, 20), ("en", "a", 30, 0), ("en", "b", 5, 15), ("en", "c", 9, 10))

    found = large_shares(tally, 0.5)

    assert found == [
        LargeShare("min_words", "all", "", 45, 89),
        LargeShare("min_words", "language", "zh", 20, 20),
        LargeShare("min_words", "source", "b", 15, 20),
    ]
    assert found[2].share == 0.75
    assert large_shares(tally, 0.75) == found[1:2]
    assert large_shares(tally, 0.5, meant={"min_words"}) == []


def test_exactly_the_share_may_go():
    assert large_shares(tally_of(("en", "a", 20, 20)), 0.5) == []


def test_no_known_language_may_lose_much():
    found = large_shares(tally_of(("und", "a", 0, 20), ("en", "a", 80, 0)), 0.5)

    assert found == []


def test_the_unreadable_are_part_of_their_source():
    tally = tally_of(("en", "a", 5, 15))
    for number in range(20):
        tally.fail("a", Unreadable(f"a:{number}", "not JSON"))

    assert [found.where for found in large_shares(tally, 0.5)] == ["language"]
