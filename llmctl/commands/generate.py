"""`llmctl generate`: a prompt in, its continuation out; a conversation; a file of prompts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmctl.commands import options

if TYPE_CHECKING:
    from llmctl.core.language_model.completion import Completer, Completion, Prompt
    from llmctl.core.language_model.language_model import LanguageModel
    from llmctl.core.progress import Progress
    from llmctl.core.recipe import GeneratePlan
    from llmctl.core.stages.generate_file import FileJob

_EARLY_STOPPING: dict[str | None, bool] = {"true": True, "false": False}


@dataclass(frozen=True)
class _Asking:
    """Who is asked, and how."""

    path: Path
    model: LanguageModel
    plan: GeneratePlan
    sources: Mapping[str, str]
    seed: int


@dataclass(frozen=True)
class _Shown:
    """What is told of an answer."""

    echo: bool
    stream: bool
    as_json: bool
    logprobs: bool
    stats: bool


def generate(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="Text to continue; - reads stdin.")
    ] = None,
    model: options.Model = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens", "-n", "--max-new-tokens", min=1, help="Tokens written at most."
        ),
    ] = None,
    min_tokens: Annotated[
        int | None, typer.Option(min=0, help="Tokens before the text may end.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text; repeatable.")
    ] = None,
    stop_token: Annotated[
        list[str] | None, typer.Option(help="End at this token, by id or text; repeatable.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(min=0, help="End a text after so many seconds.")
    ] = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    typical_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only tokens of about the expected surprise.")
    ] = None,
    samplers: Annotated[
        str | None, typer.Option(help="Their order: temperature,top_k,top_p,min_p,typical_p.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Divides logits of tokens seen before; 1 is none.")
    ] = None,
    presence_penalty: Annotated[
        float | None, typer.Option(help="Taken from logits of tokens written before.")
    ] = None,
    frequency_penalty: Annotated[
        float | None, typer.Option(help="Likewise, for each time they were written.")
    ] = None,
    no_repeat_ngram: Annotated[
        int | None, typer.Option(min=1, help="Write no run of so many tokens twice.")
    ] = None,
    logit_bias: Annotated[
        list[str] | None,
        typer.Option(metavar="TOKEN=BIAS", help="Added to a token's logit; repeatable."),
    ] = None,
    num_samples: Annotated[
        int | None, typer.Option(min=1, help="Continuations of each prompt.")
    ] = None,
    beams: Annotated[
        int | None, typer.Option("--beams", "--num-beams", min=1, help="Beam search with so many.")
    ] = None,
    length_penalty: Annotated[
        float | None, typer.Option(help="Beams: the length's exponent in a text's score.")
    ] = None,
    early_stopping: Annotated[str | None, typer.Option(help="Beams: true, false or never.")] = None,
    seed: options.Seed = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="The prompt is a message; without one, a conversation.")
    ] = False,
    system: Annotated[str | None, typer.Option(help="With --chat: the system prompt.")] = None,
    prompts: Annotated[
        str | None,
        typer.Option(help="Continue each row of a .jsonl or line of a .txt; - reads stdin."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="With --prompts: a row for each answer.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --prompts: go on with an output begun before.")
    ] = False,
    parity: Annotated[
        bool, typer.Option("--parity", help="Compare with transformers, greedily, in float32.")
    ] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    echo: Annotated[bool, typer.Option("--echo", help="Print the prompt too.")] = False,
    stream: Annotated[bool, typer.Option(help="Print as it is written.")] = True,
    logprobs: Annotated[
        bool, typer.Option("--logprobs", help="With --json or --prompts: each token's.")
    ] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Tell on stderr how fast it was.")] = False,
    max_seconds: options.MaxSeconds = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Continue a text. Only the continuation goes to stdout, as it is written.

    What is not given is as the checkpoint's generation_config.json says, else as in a
    recipe's `generate` section by default.
    """
    from llmctl.commands.stage_command import watched
    from llmctl.core.stages import generate as stage

    given: dict[str, Any] = {
        "max_tokens": max_tokens,
        "min_tokens": min_tokens,
        "stop": tuple(stop) if stop else None,
        "time_limit_seconds": time_limit,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "typical_p": typical_p,
        "samplers": tuple(samplers.split(",")) if samplers else None,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "no_repeat_ngram": no_repeat_ngram,
        "num_samples": num_samples,
        "num_beams": beams,
        "length_penalty": length_penalty,
        "early_stopping": _EARLY_STOPPING.get(early_stopping, early_stopping),
    }
    _refuse_mixtures(
        {"PROMPT": prompt, "--chat": chat, "--prompts": prompts, "--parity": parity},
        {
            "--system": system,
            "--output": output,
            "--resume": resume,
            "--max-seconds": max_seconds,
        },
    )
    path = options.found_model(model, quiet=quiet)
    if parity:
        _compare(path, _text(prompt), max_tokens, as_json=as_json)
        return
    language_model = stage.open_model(path, device=device, dtype=dtype)
    stage.stop_at(language_model, stop_token or ())
    given["logit_bias"] = stage.logit_biases(language_model, logit_bias or ()) or None
    plan, sources = stage.settle(language_model, given)
    drawn = stage.drawn_seed() if seed is None else seed
    asking = _Asking(path, language_model, plan, sources, drawn)
    shown = _Shown(echo, stream, as_json, logprobs, stats)
    if prompts is not None:
        with watched(max_seconds=max_seconds, quiet=quiet) as progress:
            job = _job(prompts, output, seed, resume, logprobs)
            _answer_file(asking, job, progress, as_json=as_json)
    elif chat and prompt is None:
        _talk(asking, system)
    else:
        _answer(asking, _text(prompt), system, chat, shown)


def _refuse_mixtures(ways: Mapping[str, object], additions: Mapping[str, object]) -> None:
    """One way of asking at a time, and none without what it needs."""
    from llmctl.core.errors import UsageError

    chosen = {name for name, value in {**ways, **additions}.items() if value not in (None, False)}
    if not chosen & set(ways):
        raise UsageError('no prompt; try: llmctl generate "The world is"')
    apart = (
        ("--prompts", ("PROMPT", "--chat", "--parity")),
        ("--parity", ("--chat",)),
    )
    for name, others in apart:
        clash = [other for other in others if name in chosen and other in chosen]
        if clash:
            raise UsageError(f"{name} and {clash[0]} do not go together")
    needs = (
        ("--system", "--chat"),
        ("--output", "--prompts"),
        ("--resume", "--output"),
        ("--max-seconds", "--prompts"),
        ("--parity", "PROMPT"),
    )
    for name, needed in needs:
        if name in chosen and needed not in chosen:
            raise UsageError(f"{name} needs {needed}")


def _text(prompt: str | None) -> str:
    if prompt != "-":
        return prompt or ""
    return sys.stdin.read().removesuffix("\n")


def _answer(
    asking: _Asking, text: str, system: str | None, is_message: bool, shown: _Shown
) -> None:
    """Continue one prompt, or reply to one message."""
    from llmctl.commands.stage_command import print_json
    from llmctl.core.stages import generate as stage

    if is_message:
        with stage.open_chat(asking.model, asking.path, asking.plan, seed=asking.seed) as chat:
            prompt, completer = chat.prompt(chat.opening(text, system)), chat.completer
    else:
        prompt, completer = text, asking.model.completer
        if text.endswith(" "):
            typer.echo(
                "the prompt ends with a space, which most tokenizers write together with the word "
                "that follows; it is continued better without",
                err=True,
            )
    completions = _written(asking, completer, prompt, text, shown)
    if shown.as_json:
        print_json(_as_dict(asking, completions))
    for completion in completions if shown.stats else ():
        typer.echo(str(stage.speed(asking.model, completion)), err=True)


def _written(
    asking: _Asking, completer: Completer, prompt: str | Prompt, text: str, shown: _Shown
) -> Sequence[Completion]:
    """Write the continuation, or several, an empty line between them."""
    from llmctl.core.stages.generate import stream_completion
    from llmctl.terminal.writer import TextWriter

    def writer() -> TextWriter:
        return TextWriter(text, echo=shown.echo, stream=shown.stream, silent=shown.as_json)

    plan, seed, found = asking.plan, asking.seed, list["Completion"]()
    if plan.num_samples == 1 and plan.num_beams == 1 and not shown.logprobs:
        one = writer()
        found.append(stream_completion(completer, prompt, plan, seed=seed, write=one.write))
        one.finish()
        return found
    for completion in completer.complete([prompt], plan, seed=seed, with_logprobs=shown.logprobs):
        if found and not shown.as_json:
            typer.echo()
        found.append(completion)
        one = writer()
        one.write(completion.text)
        one.finish()
    return found


def _as_dict(asking: _Asking, completions: Sequence[Completion]) -> dict[str, Any]:
    """What `--json` tells; the first continuation stands at the top."""
    plan = asking.plan.model_dump(mode="json")
    told = {
        "model": str(asking.path),
        "seed": asking.seed,
        "prompt": completions[0].prompt,
        "prompt_tokens": completions[0].num_prompt_tokens,
        **completions[0].as_dict(),
        "settings": {
            name: {"value": plan[name], "from": source}
            for name, source in asking.sources.items()
            if name != "prompts"
        },
    }
    if len(completions) > 1:
        told["samples"] = [completion.as_dict() for completion in completions]
    return told


def _job(
    prompts: str, output: Path | None, seed: int | None, resume: bool, logprobs: bool
) -> FileJob:
    """A file of prompts; a job that goes on draws with the seed that it began with."""
    from llmctl.core.artifacts.answer_rows import seed_of
    from llmctl.core.artifacts.prompt_rows import PromptSource
    from llmctl.core.stages.generate import drawn_seed
    from llmctl.core.stages.generate_file import FileJob

    if seed is None and resume and output is not None:
        seed = seed_of(output)
    seed = drawn_seed() if seed is None else seed
    return FileJob(PromptSource(prompts), output, seed, resume, logprobs)


def _answer_file(asking: _Asking, job: FileJob, progress: Progress, *, as_json: bool) -> None:
    """Continue a file's prompts; exit code 65 where some could not be."""
    from llmctl.commands.stage_command import print_json
    from llmctl.core.stages.generate import has_chat_template, open_chat
    from llmctl.core.stages.generate_file import generate_file

    model, plan = asking.model, asking.plan
    if has_chat_template(asking.path):
        with open_chat(model, asking.path, plan, seed=job.seed) as chat:
            outcome = generate_file(chat.completer, plan, job, chat=chat.prompt, progress=progress)
    else:
        outcome = generate_file(model.completer, plan, job, progress=progress)
    progress.note(
        f"{outcome.num_answered:,} answered, {outcome.num_refused:,} refused, "
        f"{outcome.num_skipped:,} done before"
    )
    if as_json and job.out is not None:
        print_json({"output": str(job.out), "seed": job.seed, **asdict(outcome)})
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _talk(asking: _Asking, system: str | None) -> None:
    """Hold a conversation."""
    from llmctl.core.stages.generate import open_chat
    from llmctl.terminal.conversation import converse

    with open_chat(asking.model, asking.path, asking.plan, seed=asking.seed) as chat:
        converse(chat, system=system)


def _compare(path: Path, prompt: str, max_tokens: int | None, *, as_json: bool) -> None:
    """Put llmctl and transformers side by side; exit code 1 where they differ."""
    from llmctl.commands.stage_command import print_json
    from llmctl.core.stages.parity import compare

    parity = compare(path, prompt, max_tokens=max_tokens or 64)
    if as_json:
        print_json({**asdict(parity), "agrees": parity.agrees})
    else:
        typer.echo(str(parity))
    if not parity.agrees:
        raise typer.Exit(1)
