"""clean: conservation, resumption to the same bytes, warnings and refusals."""

import gzip
import json
import shutil
from functools import partial

import pytest
import zstandard

from llmctl.core.artifacts.corpus import read_corpus
from llmctl.core.artifacts.sources import resolve_sources
from llmctl.core.artifacts.streams import read_lines
from llmctl.core.clean_plan import (
    CleanPlan,
    DecontaminationPlan,
    DuplicatesPlan,
    MixPlan,
    PrivacyPlan,
    Shard,
)
from llmctl.core.cleaning import unit_maker, unit_planner
from llmctl.core.cleaning.unit_files import read_records, write_records
from llmctl.core.errors import BusyError, DataError, Interrupted, RecipeError
from llmctl.core.lock import exclusive
from llmctl.core.manifest import DigestCache, Identity
from llmctl.core.progress import Progress
from llmctl.core.stages import clean as stage
from llmctl.core.stages.clean import clean, clean_shard
from llmctl.core.work_settings import WorkSettings
from llmctl.core.workspace import Workspace


class Watcher(Progress):
    def __init__(self, checks_until_stop=None):
        super().__init__()
        self.warnings = []
        self.notes = []
        self.begun = []
        self.checks_left = checks_until_stop

    def begin(self, activity, total=None, unit=""):
        self.begun.append((activity, total, unit))

    def note(self, message):
        self.notes.append(message)

    def warn(self, message):
        self.warnings.append(message)

    def check(self):
        if self.checks_left is not None:
            self.checks_left -= 1
            if self.checks_left < 0:
                raise Interrupted(15)


def sentence(number):
    return f"Item {number} of the list has a value of {number * 7919 % 1009} and a name. " * 2


def write_texts(path, texts):
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def prepared(base, inputs, plan):
    sources = resolve_sources(inputs, base, text_field=plan.text_field)
    cache = DigestCache(base / "digests")
    digests = {source.name: source.digest(cache) for source in sources}
    return sources, Identity("corpus", plan.model_dump(mode="json"), {}, digests)


def run(base, inputs=("in",), progress=None, target="corpus", workers=1, **plan):
    plan = CleanPlan(inputs=inputs, **plan)
    sources, identity = prepared(base, inputs, plan)
    space = Workspace(base / target, identity)
    settings = WorkSettings(workers, base)
    return clean(plan, sources, space, settings=settings, progress=progress or Watcher())


def dropped(base):
    return [json.loads(line) for line in read_lines(base / "corpus" / "dropped-00000.jsonl.zst")]


@pytest.fixture
def base(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path


def test_every_document_is_kept_dropped_or_unreadable(base):
    texts = [sentence(number) for number in range(200)]
    texts[3] = "short"
    texts[5] = texts[4].upper()
    texts[7] = texts[6] + " More."
    write_texts(base / "in" / "a.jsonl", texts)
    with (base / "in" / "a.jsonl").open("ab") as handle:
        handle.write(b'{"text": "\xff"}\n')
    (base / "in" / "诗.txt").write_text(
        "春眠不觉晓，处处闻啼鸟。\r\n夜来风雨声，花落知多少。", encoding="utf-8"
    )
    progress = Watcher()

    manifest = run(base, progress=progress)

    assert manifest.counts["documents"] == 202
    assert manifest.counts["kept"] == 198
    assert manifest.counts["dropped"] == {
        "exact_duplicate": 1, "min_characters": 1, "near_duplicate": 1
    }  # fmt: skip
    assert manifest.counts["unreadable"] == 1
    assert manifest.counts["languages"] == {"en": 197, "zh": 1}
    found = list(read_corpus(base / "corpus"))
    assert len(found) == 198
    assert found[-1].text == "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。"
    assert (found[-1].id, found[-1].language) == ("in/诗.txt", "zh")
    assert [
        (item["id"], item["rule"], item.get("duplicate_of"), item.get("cluster"))
        for item in dropped(base)
    ] == [
        ("in/a.jsonl:4", "min_characters", None, None),
        ("in/a.jsonl:6", "exact_duplicate", "in/a.jsonl:5", "in/a.jsonl:5"),
        ("in/a.jsonl:7", "near_duplicate", "in/a.jsonl:8", "in/a.jsonl:8"),
    ]
    [warning] = progress.warnings
    assert "1 of 202 documents (0.50%) cannot be read" in warning
    assert "in/a.jsonl:201: invalid UTF-8" in warning


def test_text_without_repair_stays_as_it_is(base):
    (base / "in" / "a.txt").write_bytes(sentence(1).encode() + b"\r\n\x07 cafe\xcc\x81")

    run(base, repair=False)

    [document] = read_corpus(base / "corpus")
    assert document.text.endswith("\r\n\x07 cafe\u0301")


def test_near_duplicates_can_be_switched_off(base):
    write_texts(base / "in" / "a.jsonl", [sentence(1), sentence(1) + " More.", sentence(1)])

    manifest = run(base, duplicates=DuplicatesPlan(similarity=None))

    assert manifest.counts["dropped"] == {"exact_duplicate": 1}


def contents(directory):
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name != "manifest.json"
    }  # fmt: skip


def make_inputs(base, num_files=6):
    for number in range(num_files):
        write_texts(
            base / "in" / f"{number}.jsonl",
            [sentence(number * 40 + row) for row in range(50)],
        )


def test_same_input_gives_the_same_bytes(base):
    make_inputs(base)

    run(base)
    run(base, target="again")

    assert contents(base / "corpus") == contents(base / "again")


@pytest.mark.parametrize("num_checks", [0, 1, 5, 9, 14, 20, 30, 60])
def test_stopped_anywhere_it_converges_to_the_same_bytes(base, monkeypatch, num_checks):
    monkeypatch.setattr(unit_planner, "UNIT_SOURCES", 2)
    monkeypatch.setattr(unit_maker, "_REPORT_EVERY", 16)
    make_inputs(base)
    run(base, target="undisturbed")

    with pytest.raises(Interrupted):
        run(base, progress=Watcher(checks_until_stop=num_checks))
    assert not (base / "corpus").exists()
    run(base)

    assert contents(base / "corpus") == contents(base / "undisturbed")


def test_finished_units_are_taken_up(base, monkeypatch):
    monkeypatch.setattr(unit_planner, "UNIT_SOURCES", 1)
    make_inputs(base)
    with pytest.raises(Interrupted):
        run(base, progress=Watcher(checks_until_stop=7))
    seen = []
    monkeypatch.setattr(
        unit_maker,
        "repair",
        lambda text, repair=unit_maker.repair: seen.append(text) or repair(text),
    )

    run(base)

    assert 0 < len(seen) < 300


def test_a_damaged_unit_is_named(base):
    make_inputs(base, 1)
    with pytest.raises(Interrupted):
        run(base, progress=Watcher(checks_until_stop=5))
    [unit] = base.glob(".work-*/units/*.zst")
    lines = [line + b"\n" for line, _ in read_records(unit)]
    unit.unlink()
    write_records(unit, iter([*lines[1:], b'{"end": 50}\n']))

    with pytest.raises(DataError, match="49 records, expected 50; remove it"):
        run(base)


def test_a_file_that_changes_meanwhile_is_refused(base):
    make_inputs(base, 1)
    plan = CleanPlan(inputs=("in",))
    sources = resolve_sources(plan.inputs, base)
    identity = Identity("corpus", {}, {}, {"in/0.jsonl": "0" * 64})

    with pytest.raises(DataError, match=r"in/0\.jsonl: changed while it was being read"):
        clean(plan, sources, Workspace(base / "corpus", identity), progress=Watcher())


def test_nothing_is_published_with_too_many_unreadable(base):
    write_texts(base / "in" / "a.jsonl", [sentence(number) for number in range(50)])
    shutil.copy(base / "in" / "a.jsonl", base / "in" / "b.jsonl")
    with (base / "in" / "b.jsonl").open("a", encoding="utf-8") as handle:
        handle.write("{\n" * 5)

    with pytest.raises(DataError, match=r"more than clean\.max_unreadable = 0\.01 allows") as error:
        run(base)

    assert "5 of 105 documents (4.76%)" in str(error.value)
    assert "in/b.jsonl:51: not JSON" in str(error.value)
    assert "  …\n" in str(error.value)
    assert not (base / "corpus").exists()
    assert run(base, max_unreadable=0.05).counts["unreadable"] == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "the input is empty: no document in in/a.jsonl", id="empty"),
        pytest.param(b"\n\n", "the input is empty", id="blank lines"),
        pytest.param(b'"\xff"\n"\xfe"', "nothing can be read of 2 documents", id="unreadable"),
        pytest.param(
            b'{"text": "a"}', r"no document is left: all 1 were dropped \(min_", id="none"
        ),
    ],
)
def test_input_without_a_document_is_refused(base, content, message):
    (base / "in" / "a.jsonl").write_bytes(content)

    with pytest.raises(DataError, match=message):
        run(base, max_unreadable=1.0)

    assert not (base / "corpus").exists()
    assert not list(base.glob(".work-*"))


def test_a_rule_that_drops_half_is_told(base):
    write_texts(base / "in" / "a.jsonl", [sentence(1), "one", "two"])
    progress = Watcher()

    run(base, progress=progress)

    [warning] = progress.warnings
    assert warning.startswith("min_characters dropped 2 of 3 documents in all;")


def test_chinese_is_not_eaten_silently(base):
    chinese = [f"第{number}首诗□□□□□□□□□□□□□□□□□□□□" for number in range(30)]
    write_texts(base / "in" / "a.jsonl", [sentence(number) for number in range(90)] + chinese)
    progress = Watcher()

    run(base, progress=progress)

    [warning] = progress.warnings
    assert warning.startswith("min_letter_share dropped 30 of 30 documents in zh;")


def test_files_left_out_are_told(base):
    make_inputs(base, 1)
    for number in range(4):
        (base / "in" / f"{number}.pdf").write_bytes(b"")
    progress = Watcher()

    run(base, progress=progress)

    [warning] = progress.warnings
    assert "4 files of unknown kinds are left out: in/0.pdf, in/1.pdf, in/2.pdf, …" in warning


def test_text_field_of_the_plan(base):
    (base / "in" / "a.jsonl").write_text(json.dumps({"body": sentence(1)}), encoding="utf-8")

    assert run(base, text_field="body").counts["kept"] == 1


@pytest.fixture
def small_units(monkeypatch):
    monkeypatch.setattr(unit_planner, "UNIT_BYTES", 5_000)
    monkeypatch.setattr(stage, "UNIT_BYTES", 5_000)


def test_any_number_of_workers_gives_the_same_bytes(base, small_units):
    make_inputs(base, 3)
    packed = gzip.compress(
        (base / "in" / "0.jsonl").read_bytes().replace(b"Item", b"Thing"), mtime=0
    )
    (base / "in" / "包.jsonl.gz").write_bytes(packed)
    options = {"duplicates": DuplicatesPlan(max_line_documents=50)}

    one = run(base, target="1", **options)
    several = run(base, target="3", workers=3, **options)

    assert one.counts["documents"] == 200
    assert one.counts == several.counts
    assert contents(base / "1") == contents(base / "3")


def test_a_large_packed_file_is_shared_in_pieces(base, small_units):
    texts = [sentence(number) for number in range(200)]
    write_texts(base / "in" / "a.jsonl", texts)
    run(base, target="plain")
    packed = zstandard.compress((base / "in" / "a.jsonl").read_bytes())
    (base / "in" / "a.jsonl").unlink()
    (base / "in" / "a.jsonl.zst").write_bytes(packed)

    run(base, target="packed")

    plain, unpacked = (list(read_corpus(base / name)) for name in ("plain", "packed"))
    assert [item.text for item in plain] == [item.text for item in unpacked]
    assert unpacked[-1].id == "in/a.jsonl.zst:200"


def test_shards_are_made_apart_and_put_together(base, small_units):
    make_inputs(base)
    run(base, target="whole")
    plan = CleanPlan(inputs=("in",))
    sources, identity = prepared(base, ("in",), plan)
    num_units = 0
    for number in (2, 1, 3):
        space = Workspace(base / "corpus", identity, is_shared=True)
        settings = WorkSettings(1, base)
        made = clean_shard(
            plan, sources, space, Shard(number, 3), settings=settings, progress=Watcher()
        )
        num_units += made.num_units
    units = set((base / f".work-corpus-{identity.short_key}" / "units").glob("*.jsonl.zst"))

    run(base)

    assert len(units) == num_units > 3
    assert contents(base / "corpus") == contents(base / "whole")


def test_a_shard_that_is_being_made_is_waited_for(base):
    make_inputs(base, 1)
    _, identity = prepared(base, ("in",), CleanPlan(inputs=("in",)))
    space = Workspace(base / "corpus", identity, is_shared=True)

    with exclusive(space.shard_lock(1, 2)), pytest.raises(BusyError, match="in use by process"):
        run(base)


def test_a_sample_is_drawn_from_all_and_says_so(base):
    make_inputs(base)

    manifest = run(base, sample=20)

    assert manifest.counts["documents"] == 20
    report = json.loads((base / "corpus" / "report.json").read_bytes())
    assert report["sample"] == {"documents": 20, "drawn_from": 300}
    assert len({item.source for item in read_corpus(base / "corpus")}) > 2
    run(base, sample=20, workers=2, target="again")
    assert contents(base / "corpus") == contents(base / "again")


def test_what_an_earlier_corpus_holds_is_dropped(base):
    make_inputs(base, 2)
    run(base, inputs=("in/0.jsonl",), target="earlier")
    watcher = Watcher()

    run(base, progress=watcher, duplicates=DuplicatesPlan(against=("earlier",)))

    read = [*(base / "in").iterdir(), *(base / "earlier").glob("documents-*")]
    assert watcher.begun[0] == ("clean", sum(path.stat().st_size for path in read), "bytes")
    found = [(item["rule"], item["corpus"]) for item in dropped(base) if "corpus" in item]
    assert found == [("exact_duplicate", "earlier")] * 60
    assert {item.source for item in read_corpus(base / "corpus")} == {"in/1.jsonl"}


@pytest.mark.parametrize("shard", [None, Shard(1, 2)])
def test_a_mix_of_a_source_that_is_not_there_is_refused_before_the_work(base, shard):
    make_inputs(base, 1)
    plan = CleanPlan(inputs=("in",), mix=MixPlan(weights={"nowhere": 2.0}))
    sources, identity = prepared(base, ["in"], plan)
    space = Workspace(base / "corpus", identity)
    watcher = Watcher()
    words = {"settings": WorkSettings(1, base), "progress": watcher}
    work = clean if shard is None else partial(clean_shard, shard=shard)

    with pytest.raises(RecipeError, match=r"'nowhere' stands for no source; there are in/0\.jsonl"):
        work(plan, sources, space, **words)
    assert not watcher.begun


def test_a_mix_keeps_shares_and_repeats(base):
    make_inputs(base, 3)
    plan = {"duplicates": DuplicatesPlan(exact=False, similarity=None)}
    mix = MixPlan(weights={"in/0.jsonl": 0.0, "in/1.jsonl": 2.0}, max_characters={"*": 5_000})

    manifest = run(base, mix=mix, **plan)

    found = list(read_corpus(base / "corpus"))
    assert not [item for item in found if item.source == "in/0.jsonl"]
    repeated = [item.id for item in found if item.source == "in/1.jsonl"]
    assert repeated[1] == f"{repeated[0]}#2"
    assert sum(len(item.text) for item in found) <= 5_000
    assert set(manifest.counts["dropped"]) == {"mix_weight", "mix_characters"}
    assert manifest.counts["dropped"]["mix_weight"] == 50


def test_evaluation_data_is_dropped_or_cut(base):
    question = "If Anna has twelve apples and gives five of them to her brother Ben, how many?"
    write_texts(base / "in" / "a.jsonl", [sentence(1), f"{sentence(2)} {question}"])
    (base / "gsm.txt").write_text(f"{question}\nYes\n北京\n", encoding="utf-8")
    progress = Watcher()

    run(base, decontaminate=DecontaminationPlan(files=("gsm.txt",)), progress=progress)
    cut = DecontaminationPlan(files=("gsm.txt",), action="cut")
    run(base, decontaminate=cut, target="cut")

    [item] = dropped(base)
    assert (item["rule"], item["item"]) == ("contaminated", "gsm.txt:1")
    [note] = progress.notes
    assert "of 3 evaluation items 2 are not looked for: 2 are too short, 0 say too" in note
    assert [item.text for item in read_corpus(base / "cut")][1] == sentence(2).strip()
    report = json.loads((base / "cut" / "report.json").read_bytes())
    assert report["evaluation_hits"][0]["item"] == "gsm.txt:1"


def test_personal_data_is_counted_replaced_or_dropped(base):
    text = f"{sentence(1)}联系邮箱是zhangsan@example.cn，欢迎来信。"
    write_texts(base / "in" / "a.jsonl", [text, sentence(2)])

    run(base)
    run(base, privacy=PrivacyPlan(action="replace"), target="replaced")
    run(base, privacy=PrivacyPlan(action="drop"), target="dropped")

    assert "zhangsan@example.cn" in next(read_corpus(base / "corpus")).text
    report = json.loads((base / "corpus" / "report.json").read_bytes())
    assert report["private"]["email"] == 1
    assert "zhangsan" not in next(read_corpus(base / "replaced")).text
    assert [item.text for item in read_corpus(base / "dropped")] == [sentence(2).rstrip()]


def test_conversations_and_pairs_are_carried_through(base):
    messages = [{"role": "user", "content": "你好 "}, {"role": "assistant", "content": "你好！"}]
    pair = {"prompt": "1 + 1 = ", "completion": "2"}
    (base / "in" / "a.jsonl").write_text(
        "\n".join(json.dumps(record) for record in ({"messages": messages}, pair, pair)),
        encoding="utf-8",
    )

    run(base)

    found = list(read_corpus(base / "corpus"))
    assert [(item.messages, item.pair) for item in found] == [(messages, None), (None, pair)]
    assert [item["rule"] for item in dropped(base)] == ["exact_duplicate"]


def test_a_rule_may_drop_no_more_than_max_drop(base):
    write_texts(base / "in" / "a.jsonl", ["short", *(sentence(number) for number in range(29))])

    with pytest.raises(DataError, match=r"max_drop = 0\.02 allows:\n  min_characters dropped 1 of"):
        run(base, max_drop=0.02)

    assert not (base / "corpus").exists()
    assert run(base, max_drop=0.05).counts["kept"] == 29


def test_lines_of_many_documents_are_cut(base):
    banner = "Subscribe to our newsletter today"
    write_texts(base / "in" / "a.jsonl", [f"{banner}\n{sentence(number)}" for number in range(30)])

    run(base, duplicates=DuplicatesPlan(max_line_documents=5))

    texts = [item.text for item in read_corpus(base / "corpus")]
    assert texts == [sentence(number).rstrip() for number in range(30)]
