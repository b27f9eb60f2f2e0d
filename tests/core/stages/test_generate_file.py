"""A file of prompts: every id once, whatever happened; resumed is uninterrupted."""

import errno
import gzip
import itertools
import json
import os
import signal
from dataclasses import replace

import pytest
from core.language_model import conftest as made

from llmctl.core import atomic
from llmctl.core.artifacts.answer_rows import seed_of
from llmctl.core.artifacts.prompt_rows import PromptSource
from llmctl.core.errors import (
    BusyError,
    DataError,
    Interrupted,
    MissingInputError,
    OutOfTime,
    OutputError,
    StorageError,
    UsageError,
)
from llmctl.core.language_model.completion import Prompt
from llmctl.core.lock import exclusive
from llmctl.core.progress import Progress
from llmctl.core.recipe import GeneratePlan
from llmctl.core.stages.generate_file import FileJob, FileOutcome, generate_file, settings_digest
from llmctl.core.stopping import Stop

tokenizer_path, make_model, language_model = (
    made.tokenizer_path,
    made.make_model,
    made.language_model,
)

SEED = 5
PLAN = GeneratePlan(temperature=1.0, top_p=None, max_tokens=6)
SEVERAL = PLAN.model_copy(update={"num_samples": 3})
TEXTS = ["The world is", "世界", "你好 🌍", "Naïve café — ", "a", "", "all that is the case", "b"]


@pytest.fixture(scope="module")
def completer(language_model):
    return language_model.completer


@pytest.fixture
def out(tmp_path):
    return tmp_path / "答案.jsonl"


@pytest.fixture
def answer(completer, tmp_path, out):
    """Rows → the outcome of one job."""

    def run(rows, plan=PLAN, *, by=completer, chat=None, progress=None, **job):
        source = write_rows(tmp_path / "prompts.jsonl", rows)
        job = FileJob(**{"source": source, "out": out, "seed": SEED, **job})
        return generate_file(by, plan, job, chat=chat, progress=progress or Progress())

    return run


def write_rows(path, rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return PromptSource(str(path))


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def in_order(rows):
    return sorted(rows, key=lambda row: json.dumps([row.get("line"), row["id"], row.get("sample")]))


def expected_row(completer, plan, number, text, row_id):
    ((_, done),) = completer.complete_as_ready([(number, text)], plan, seed=SEED)
    return {
        "id": row_id,
        "text": done.text,
        "finish_reason": done.finish_reason,
        "prompt_tokens": done.num_prompt_tokens,
        "tokens": len(done.token_ids),
        "seed": SEED,
        "settings": settings_digest(completer, plan, with_logprobs=False),
    }


def test_each_row_is_the_answer_to_its_prompt(answer, completer, out):
    rows = [
        {"id": "甲", "prompt": "世界 🌍\0", "topic": {"n": [1.5]}},
        {"prompt": "The world is"},
        {"id": 7, "prompt": "", "n": 2**65},
    ]

    assert answer(rows) == FileOutcome(num_answered=3)

    assert in_order(read(out)) == in_order(
        [
            expected_row(completer, PLAN, 0, "世界 🌍\0", "甲") | {"topic": {"n": [1.5]}},
            expected_row(completer, PLAN, 1, "The world is", 2),
            expected_row(completer, PLAN, 2, "", 7) | {"n": 2**65},
        ]
    )


def test_a_text_file_has_a_prompt_a_line(answer, completer, out, tmp_path):
    path = tmp_path / "prompts.txt.gz"
    path.write_bytes(gzip.compress("The world is\r\n\r\n世界".encode(), mtime=0))

    assert answer([], source=PromptSource(str(path))).num_answered == 2

    assert in_order(read(out)) == [
        expected_row(completer, PLAN, 0, "The world is", 1),
        expected_row(completer, PLAN, 2, "世界", 3),
    ]


def test_several_samples_are_a_row_each(answer, completer, out):
    assert answer([{"prompt": text} for text in TEXTS], SEVERAL).num_answered == len(TEXTS)

    expected = [
        (number + 1, done.sample, done.text)
        for number, text in enumerate(TEXTS)
        for _, done in completer.complete_as_ready([(number, text)], SEVERAL, seed=SEED)
    ]
    assert sorted((row["id"], row["sample"], row["text"]) for row in read(out)) == sorted(expected)


def test_log_probabilities_are_those_of_the_completion(answer, completer, out):
    answer([{"prompt": "世界"}], with_logprobs=True)

    (row,) = read(out)
    ((_, done),) = completer.complete_as_ready([(0, "世界")], PLAN, seed=SEED, with_logprobs=True)
    assert row["logprobs"] == pytest.approx(done.logprobs)
    assert row["token_ids"] == list(done.token_ids)


def test_beams_have_scores_and_may_be_fewer_than_asked_for(answer, out):
    plan = GeneratePlan(num_beams=301, num_samples=301, max_tokens=1)

    assert answer([{"prompt": "世界"}, {"prompt": "a"}], plan).num_answered == 2

    rows = read(out)
    assert [(row["id"], row["sample"]) for row in rows] == [
        (number, rank) for number in (1, 2) for rank in range(300)
    ]
    scores = [row["score"] for row in rows[:300]]
    assert scores == sorted(scores, reverse=True)


def test_a_conversation_goes_through_the_template(answer, completer, out):
    def chat(messages):
        if len(messages) > 1:
            raise DataError("the chat template refuses the conversation: 不")
        text = f"<{messages[0]['role']}>{messages[0]['content']}"
        return Prompt(text, tuple(completer.tokenizer.encode(text)))

    message = {"role": "user", "content": "你好"}

    outcome = answer(
        [{"messages": [message]}, {"messages": [message] * 2}, {"prompt": "世界"}], chat=chat
    )

    assert outcome == FileOutcome(num_answered=2, num_refused=1)
    assert in_order(read(out)) == in_order(
        [
            expected_row(completer, PLAN, 0, chat([message]), 1),
            {"id": 2, "error": "the chat template refuses the conversation: 不", "line": 2},
            expected_row(completer, PLAN, 2, "世界", 3),
        ]
    )


BAD = [
    (
        {"id": "a", "messages": [{"role": "user", "content": "a"}]},
        "a",
        "the model has no chat template, so it knows no messages; give prompt",
    ),
    (
        {"prompt": "世界" * 60},
        1,
        "prompt 1 has 240 tokens and the model's context holds 48; shorten the prompt",
    ),
    (
        {"id": "空", "prompt": ""},
        "空",
        "prompt 1 is empty, and the model has no token that begins a text; write the first word",
    ),
    ({"id": 4, "prompt": "a", "text": "b"}, 4, "the field text is one that the answer has; give"),
    ("{oops", 1, "not JSON: Expecting property name"),
]


@pytest.mark.parametrize(("row", "row_id", "error"), BAD)
def test_a_bad_row_is_a_row_that_says_why(answer, completer, out, row, row_id, error):
    beginless = replace(completer, begin_id=None)

    outcome = answer([row, {"id": "好", "prompt": "世界"}], by=beginless)

    assert (outcome, outcome.exit_code) == (FileOutcome(1, 1, 0), 65)
    told, answered = sorted(read(out), key=lambda row: "text" in row)
    assert told == {"id": row_id, "error": told["error"], "line": 1}
    assert told["error"].startswith(error)
    assert answered == expected_row(beginless, PLAN, 1, "世界", "好")


def test_one_bad_row_of_a_hundred(answer, out):
    rows = [{"id": f"行{number}", "prompt": TEXTS[number % 8]} for number in range(100)]
    rows[41] = {"id": "行41"}

    outcome = answer(rows)

    assert (outcome.num_answered, outcome.num_refused, outcome.exit_code) == (99, 1, 65)
    assert sorted(row["id"] for row in read(out)) == sorted(f"行{number}" for number in range(100))
    assert [row["id"] for row in read(out) if "error" in row] == ["行41"]
    assert answer(rows, resume=True) == FileOutcome(0, 1, 99)
    assert answer(rows[:41], resume=True).exit_code == 0


MIXED = [
    {"id": "甲", "prompt": "世界", "topic": "天"},
    "{oops",
    {"prompt": "The world is"},
    {"id": "甲", "prompt": "again"},
    {"prompt": "世界" * 60},
    {"id": "5", "prompt": ""},
    {"prompt": "a"},
]


@pytest.fixture
def undisturbed(answer, out):
    """The rows of a job that nothing disturbed, in order."""
    assert answer(MIXED, SEVERAL) == FileOutcome(4, 3, 0)
    rows = in_order(read(out))
    out.unlink()
    return rows


def test_resumed_after_any_operation_is_uninterrupted(answer, undisturbed, out, killed_after):
    num_kills = 0
    for number in itertools.count(1):
        if not killed_after(number, lambda: answer(MIXED, SEVERAL, resume=True)):
            break
        num_kills += 1
        outcome = answer(MIXED, SEVERAL, resume=True)
        assert outcome.num_answered + outcome.num_skipped == 4
        assert outcome.num_refused == 3
        assert in_order(read(out)) == undisturbed
        out.unlink()
    assert num_kills > len(undisturbed)


def test_resumed_after_a_cut_anywhere_is_uninterrupted(answer, undisturbed, out):
    answer(MIXED, SEVERAL)
    whole = out.read_bytes()
    for length in range(0, len(whole), 83):
        out.write_bytes(whole[:length])

        answer(MIXED, SEVERAL, resume=True)

        assert in_order(read(out)) == undisturbed


def test_killed_again_and_again_every_row_is_there_once(answer, undisturbed, out):
    for _ in range(6):
        child = os.fork()
        if child == 0:
            written = itertools.count(1)

            def observe(operation, _path, written=written):
                if operation == "write" and next(written) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)

            atomic.observer = observe
            try:
                answer(MIXED, SEVERAL, resume=True)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL

    outcome = answer(MIXED, SEVERAL, resume=True)

    assert outcome.num_refused == 3
    assert in_order(read(out)) == undisturbed


class AfterTokens(Stop):
    """Asks for the end after so many tokens and prompts."""

    def __init__(self, number, reason):
        super().__init__()
        self.left, self.why = number, reason

    def reason(self):
        self.left -= 1
        return self.why if self.left < 0 else None


class Noted(Progress):
    """Keeps what it is told."""

    def __init__(self, stop=None):
        super().__init__(stop)
        self.told = []

    def begin(self, activity, total=None, unit=""):
        self.told.append((activity, total, unit))

    def advance(self, amount=1, **figures):
        self.told.append(amount)

    def end(self):
        self.told.append("end")

    def note(self, message):
        self.told.append(message)


@pytest.mark.parametrize("reason", [Interrupted(signal.SIGINT), OutOfTime("stopped")])
def test_an_early_end_keeps_what_was_answered(answer, undisturbed, out, reason):
    progress = Noted(AfterTokens(40, reason))
    with pytest.raises(type(reason)):
        answer(MIXED, SEVERAL, progress=progress)

    found = read(out)
    assert 3 <= len(found) < len(undisturbed)
    assert all(row in undisturbed for row in found)
    assert progress.told[-2:] == [f"{out}: add --resume to go on with it", "end"]
    answer(MIXED, SEVERAL, resume=True)
    assert in_order(read(out)) == undisturbed


def test_an_early_end_does_not_wait_for_a_prompt_that_can_be_answered(answer, out):
    progress = Progress(AfterTokens(3, OutOfTime("stopped")))

    with pytest.raises(OutOfTime):
        answer(["{oops"] * 10, progress=progress)

    assert [row["line"] for row in read(out)] == [1, 2, 3]


def test_every_prompt_is_told(answer):
    progress = Noted()

    answer(MIXED, SEVERAL, progress=progress)

    first, *counts, last = progress.told
    assert (first, last) == (("generate", 7, "prompts"), "end")
    assert sum(counts) == 7


def test_a_disk_that_fills_up_keeps_whole_rows(answer, undisturbed, out, monkeypatch):
    write_there, written = os.write, itertools.count()

    def fill(descriptor, data):
        if data.startswith(b'{"id":') and next(written) >= 5:
            return write_there(descriptor, data[:50])
        if not data.startswith(b'{"'):  # what is left of a row
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_there(descriptor, data)

    monkeypatch.setattr(os, "write", fill)
    with pytest.raises(StorageError, match="No space left on device; free some space"):
        answer(MIXED, SEVERAL)
    monkeypatch.undo()

    assert len(read(out)) == 5
    answer(MIXED, SEVERAL, resume=True)
    assert in_order(read(out)) == undisturbed


def test_another_job_has_the_output(answer, out):
    with (
        exclusive(out.with_name(".答案.jsonl.lock")),
        pytest.raises(BusyError, match="in use by process"),
    ):
        answer(MIXED)
    assert not out.exists()


def test_answers_of_another_kind_are_not_gone_on_with(answer, completer, make_model, out):
    answer(MIXED)
    before = out.read_bytes()
    others = [
        ({"plan": PLAN.model_copy(update={"max_tokens": 7})}, "the model or an option is another"),
        ({"by": replace(completer, model=make_model(1))}, "the model or an option is another"),
        ({"by": replace(completer, stop_ids=frozenset({3}))}, "the model or an option is another"),
        ({"with_logprobs": True}, "the model or an option is another"),
        ({"seed": 6}, "are of seed 5 and not of 6; give --seed 5"),
    ]

    for changes, message in others:
        with pytest.raises(UsageError, match=message):
            answer(MIXED, resume=True, **changes)
    with pytest.raises(OutputError, match="exists; add --resume"):
        answer(MIXED)

    assert out.read_bytes() == before
    assert seed_of(out) == SEED


def test_prompts_that_are_not_there_make_no_output(answer, out, tmp_path):
    with pytest.raises(MissingInputError, match="No such file"):
        answer([], source=PromptSource(str(tmp_path / "absent.txt")))
    assert not out.exists()


def test_prompts_that_break_off_are_answered_so_far(answer, out, tmp_path):
    path = tmp_path / "prompts.txt.gz"
    path.write_bytes(gzip.compress("世界\na\n".encode(), mtime=0)[:-3])

    for resume in (False, True):
        with pytest.raises(DataError, match="cannot be read beyond line 2"):
            answer([], source=PromptSource(str(path)), resume=resume)

    assert sorted(row["id"] for row in read(out)) == [1, 2]


def test_a_stop_string_that_is_empty_ends_the_job(answer, out):
    with pytest.raises(UsageError, match="a stop string is empty"):
        answer(MIXED, PLAN.model_copy(update={"stop": ("",)}))


def test_without_an_output_rows_go_to_standard_output(answer, capfd):
    answer([{"prompt": text} for text in TEXTS], out=None)

    assert {json.loads(line)["id"] for line in capfd.readouterr().out.splitlines()} == {
        *range(1, 9)
    }
