"""Model and a file of prompts → a file of answers, appended as they come."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmctl.core.artifacts.answer_rows import AnswerRows, Stamp, open_answers
from llmctl.core.artifacts.prompt_rows import BadRow, PromptRow, PromptSource
from llmctl.core.errors import DataError, Interrupted, OutOfTime
from llmctl.core.language_model.completion import Completer, Completion, Prompt
from llmctl.core.progress import Progress
from llmctl.core.recipe import GeneratePlan
from llmctl.core.tokens.chat_template import Message

SETTINGS_CHARACTERS = 8
_VALUES_PER_TENSOR = 64


@dataclass(frozen=True)
class FileJob:
    """What is to be answered, and where to.

    Attributes:
        source: The prompts.
        out: The answers, a row each; None for standard output.
        seed: Decides, with the number of a prompt's line, what is drawn.
        resume: Go on with answers that are there.
        with_logprobs: Tell each token's id and log-probability.
    """

    source: PromptSource
    out: Path | None
    seed: int
    resume: bool = False
    with_logprobs: bool = False


@dataclass
class FileOutcome:
    """What became of the prompts; each is counted once.

    Attributes:
        num_answered: Answered now, or to the last of their samples.
        num_refused: With an error for an answer, written now or earlier.
        num_skipped: Answered earlier.
    """

    num_answered: int = 0
    num_refused: int = 0
    num_skipped: int = 0

    @property
    def exit_code(self) -> int:
        """0, or that of bad data where a prompt was refused."""
        return DataError.exit_code if self.num_refused else 0


def generate_file(
    completer: Completer,
    plan: GeneratePlan,
    job: FileJob,
    *,
    chat: Callable[[Sequence[Message]], Prompt] | None = None,
    progress: Progress,
) -> FileOutcome:
    """Continue each prompt of a file.

    An answer depends on its prompt, the plan, the seed and the number of its line, so that
    a job that was stopped and resumed gives the rows of one that never was, in another
    order. A row that cannot be continued gets an error for an answer; the others go on.

    Args:
        completer: Continues prompts.
        plan: How.
        job: Prompts and answers.
        chat: Makes the prompt of a conversation; None: the model knows none.
        progress: Told of every prompt; asked for an early end after every token.

    Raises:
        MissingInputError: The prompts are not there.
        DataError: They break off, or the output holds something else than answers.
        OutputError: The output is there and not to be resumed, or cannot be created.
        BusyError: Another process writes it.
        UsageError: It was begun with another seed, model or plan; or the plan's stop
            strings or biases cannot be.
        StorageError: The disk is full or failing.
        NumericsError: The model's logits are not finite.
        Interrupted: A signal came; what was answered is on the disk.
        OutOfTime: Likewise with the time limit.
    """
    stamp = Stamp(job.seed, settings_digest(completer, plan, with_logprobs=job.with_logprobs))
    with (
        job.source.open() as rows,
        open_answers(job.out, stamp, resume=job.resume, stop=progress.stop) as answers,
    ):
        work = _Work(answers, stamp, plan.num_samples, chat, progress)
        progress.begin("generate", job.source.num_rows(), "prompts")
        try:
            for number, answer in completer.complete_as_ready(
                work.prompts(rows),
                plan,
                seed=job.seed,
                with_logprobs=job.with_logprobs,
                check=progress.check,
            ):
                work.take(number, answer)
        except (Interrupted, OutOfTime):
            if job.out is not None and not job.resume:
                progress.note(f"{job.out}: add --resume to go on with it")
            raise
        finally:
            progress.end()
        work.finish()
    return work.outcome


def settings_digest(completer: Completer, plan: GeneratePlan, *, with_logprobs: bool) -> str:
    """Return what stands for all that decides an answer but the prompt and the seed.

    Of the weights, a few values of each tensor are taken: a training leaves none as it was.
    """
    told = {
        "plan": plan.model_dump(mode="json", exclude={"prompts"}),
        "with_logprobs": with_logprobs,
        "stop_ids": sorted(completer.stop_ids),
        "begin_id": completer.begin_id,
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, tensor in sorted(completer.model.state_dict().items()):
        values_N = tensor.detach().reshape(-1)
        step = max(1, len(values_N) // _VALUES_PER_TENSOR)
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(values_N[::step].double().cpu().numpy().tobytes())
    return digest.hexdigest()[:SETTINGS_CHARACTERS]


@dataclass
class _Unanswered:
    """A prompt that is being continued, and how many of its texts are still to come."""

    row: PromptRow
    num_left: int


class _Work:
    """Rows of prompts on their way to rows of answers."""

    def __init__(
        self,
        answers: AnswerRows,
        stamp: Stamp,
        num_samples: int,
        chat: Callable[[Sequence[Message]], Prompt] | None,
        progress: Progress,
    ) -> None:
        self.outcome = FileOutcome()
        self._answers = answers
        self._stamp = stamp
        self._num_samples = num_samples
        self._chat = chat
        self._progress = progress
        self._begun = time.monotonic()
        self._num_tokens = 0
        self._unanswered: dict[int, _Unanswered] = {}
        self._damage: DataError | None = None

    def prompts(self, rows: Iterator[PromptRow | BadRow]) -> Iterator[tuple[int, str | Prompt]]:
        """Yield what is still to be continued, numbered by the lines from 0."""
        found = self._answers.found
        samples = range(self._num_samples)
        for row in self._readable(rows):
            self._progress.check()
            if row.line in found.refused:
                self.outcome.num_refused += 1
                self._progress.advance()
            elif isinstance(row, BadRow):
                self._refuse(row.line, row.id, row.reason)
            elif all((row.id, sample) in found.answered for sample in samples):
                self.outcome.num_skipped += 1
                self._progress.advance()
            else:
                try:
                    prompt = self._prompt(row)
                except DataError as error:
                    self._refuse(row.line, row.id, str(error))
                    continue
                self._unanswered[row.line - 1] = _Unanswered(row, self._num_samples)
                yield row.line - 1, prompt

    def take(self, number: int, answer: Completion | DataError) -> None:
        """Write what became of a prompt."""
        unanswered = self._unanswered[number]
        row = unanswered.row
        if isinstance(answer, DataError):
            del self._unanswered[number]
            self._refuse(row.line, row.id, str(answer))
            return
        if (row.id, answer.sample) not in self._answers.found.answered:
            self._answers.append(self._answer_row(row, answer))
        self._num_tokens += len(answer.token_ids)
        unanswered.num_left -= 1
        if not unanswered.num_left:
            del self._unanswered[number]
            self._count_answered(1)

    def finish(self) -> None:
        """Settle what the last answer leaves open.

        Raises:
            DataError: The prompts broke off.
        """
        # A beam search may find fewer texts than were asked for.
        self._count_answered(len(self._unanswered))
        if self._damage is not None:
            raise self._damage

    def _readable(self, rows: Iterator[PromptRow | BadRow]) -> Iterator[PromptRow | BadRow]:
        try:
            yield from rows
        except DataError as damage:  # what came before is answered first
            self._damage = damage

    def _prompt(self, row: PromptRow) -> str | Prompt:
        if isinstance(row.prompt, str):
            return row.prompt
        if self._chat is None:
            raise DataError("the model has no chat template, so it knows no messages; give prompt")
        return self._chat(row.prompt)

    def _answer_row(self, row: PromptRow, completion: Completion) -> dict[str, Any]:
        told: dict[str, Any] = {"id": row.id}
        if self._num_samples > 1:
            told["sample"] = completion.sample
        told |= completion.as_dict()
        return told | {"seed": self._stamp.seed, "settings": self._stamp.settings} | row.others

    def _refuse(self, line: int, row_id: str | int, reason: str) -> None:
        self._answers.append({"id": row_id, "error": reason, "line": line})
        self.outcome.num_refused += 1
        self._progress.advance()

    def _count_answered(self, num_prompts: int) -> None:
        if num_prompts:
            self.outcome.num_answered += num_prompts
            rate = self._num_tokens / max(time.monotonic() - self._begun, 1e-9)
            self._progress.advance(num_prompts, tokens_per_second=round(rate, 1))
