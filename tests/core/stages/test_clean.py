"""clean: conservation, resumption to the same bytes, warnings and refusals."""

import json
import shutil

import pytest

from llmctl.core.artifacts.corpus import read_corpus
from llmctl.core.artifacts.sources import resolve_sources
from llmctl.core.artifacts.streams import read_lines
from llmctl.core.clean_plan import CleanPlan, DuplicatesPlan
from llmctl.core.errors import DataError, Interrupted
from llmctl.core.manifest import DigestCache, Identity
from llmctl.core.progress import Progress
from llmctl.core.stages import clean as stage
from llmctl.core.stages.clean import clean
from llmctl.core.workspace import Workspace


class Watcher(Progress):
    def __init__(self, checks_until_stop=None):
        super().__init__()
        self.warnings = []
        self.checks_left = checks_until_stop

    def warn(self, message):
        self.warnings.append(message)

    def check(self):
        if self.checks_left is not None:
            self.checks_left -= 1
            if self.checks_left < 0:
                raise Interrupted(15)


def sentence(number):
    return f"Item {number} of the list has a value of {number * 7919 % 1009} and a name. " * 2


def write_records(path, texts):
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(base, inputs=("in",), progress=None, target="corpus", **plan):
    plan = CleanPlan(inputs=inputs, **plan)
    sources = resolve_sources(plan.inputs, base, text_field=plan.text_field)
    cache = DigestCache(base / "digests")
    digests = {source.name: source.digest(cache) for source in sources}
    identity = Identity("corpus", plan.model_dump(mode="json"), {}, digests)
    space = Workspace(base / target, identity)
    return clean(plan, sources, space, progress=progress or Watcher())


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
    write_records(base / "in" / "a.jsonl", texts)
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
    write_records(base / "in" / "a.jsonl", [sentence(1), sentence(1) + " More.", sentence(1)])

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
        write_records(
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
    monkeypatch.setattr(stage, "UNIT_SOURCES", 2)
    monkeypatch.setattr(stage, "_CHECK_EVERY", 16)
    make_inputs(base)
    run(base, target="undisturbed")

    with pytest.raises(Interrupted):
        run(base, progress=Watcher(checks_until_stop=num_checks))
    assert not (base / "corpus").exists()
    run(base)

    assert contents(base / "corpus") == contents(base / "undisturbed")


def test_finished_units_are_taken_up(base, monkeypatch):
    monkeypatch.setattr(stage, "UNIT_SOURCES", 1)
    make_inputs(base)
    with pytest.raises(Interrupted):
        run(base, progress=Watcher(checks_until_stop=7))
    judged = []
    whole = stage.Judge.judge
    monkeypatch.setattr(
        stage.Judge, "judge", lambda *arguments: judged.append(arguments) or whole(*arguments)
    )

    run(base)

    assert 0 < len(judged) < 300


def test_a_damaged_unit_is_named(base, monkeypatch):
    make_inputs(base, 1)
    with pytest.raises(Interrupted):
        run(base, progress=Watcher(checks_until_stop=3))
    [unit] = base.glob(".work-*/units/*.zst")
    whole = list(read_lines(unit))
    with stage.write_lines(unit) as writer:
        writer.write(b"\n".join([*whole[1:-1], whole[-1]]) + b"\n")

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
    write_records(base / "in" / "a.jsonl", [sentence(number) for number in range(50)])
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


def test_a_rule_that_drops_half_is_told(base):
    write_records(base / "in" / "a.jsonl", [sentence(1), "one", "two"])
    progress = Watcher()

    run(base, progress=progress)

    [warning] = progress.warnings
    assert warning.startswith("min_characters dropped 2 of 3 documents in all;")


def test_chinese_is_not_eaten_silently(base):
    chinese = [f"第{number}首诗□□□□□□□□□□□□□□□□□□□□" for number in range(30)]
    write_records(base / "in" / "a.jsonl", [sentence(number) for number in range(90)] + chinese)
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
