"""`llmctl inspect`: a text as a model sees it, or a document as its corpus's rules see it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from llmctl.commands import options

_NUM_NEIGHBOURS = 10


def inspect(
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="The text; - reads stdin. With --document: a run or a corpus directory.",
        ),
    ] = None,
    document: Annotated[
        str | None,
        typer.Option(metavar="ID", help="What became of a document of a corpus, and why."),
    ] = None,
    model: options.Model = None,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Only the tokens; no weights are read.")
    ] = False,
    num_candidates: Annotated[
        int, typer.Option("--next", min=0, help="So many tokens that might come, at each step.")
    ] = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    attention: Annotated[
        str | None,
        typer.Option(metavar="LAYER[.HEAD]", help="What the tokens look at; counted from 0."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the map of --attention, all heads, as a page.")
    ] = None,
    neighbours: Annotated[
        str | None, typer.Option(metavar="WORD", help="Tokens embedded near a word.")
    ] = None,
    num_neighbours: Annotated[int, typer.Option(min=1, help="How many of them.")] = _NUM_NEIGHBOURS,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Show how likely a model finds each token of a text, what it attends to, what might follow.

    log p, rank and entropy are of each token given those before it, in nats; log P is their
    sum so far. --next shows which sampler cuts which candidate from the draw. --document needs
    no model: it tells rule, value and threshold of a document that clean kept or dropped.
    """
    from llmctl.commands.stage_command import print_json
    from llmctl.core.errors import UsageError

    if document is not None:
        others = {
            "--model": model is not None,
            "--tokens": tokens,
            "--next": num_candidates != 0,
            "--temperature": temperature is not None,
            "--top-k": top_k is not None,
            "--top-p": top_p is not None,
            "--min-p": min_p is not None,
            "--attention": attention is not None,
            "--html": html is not None,
            "--neighbours": neighbours is not None,
            "--num-neighbours": num_neighbours != _NUM_NEIGHBOURS,
            "--device": device != "auto",
            "--dtype": dtype != "auto",
        }
        _show_document(document, text, [name for name, given in others.items() if given], as_json)
        return
    if text == "-":
        text = _read_stdin()
    if not text and (neighbours is None or text is not None or tokens):
        raise UsageError('no text; try: llmctl inspect "The world is"')
    if html is not None and attention is None:
        raise UsageError("--html writes a map of attention; add --attention LAYER[.HEAD]")
    if tokens:
        _show_tokens(model, text or "", as_json=as_json, quiet=quiet)
        return
    path = options.found_model(model, quiet=quiet)
    from llmctl.core.stages import generate as generation
    from llmctl.core.stages import inspect as stage
    from llmctl.terminal.inspection import print_findings

    language_model = generation.open_model(path, device=device, dtype=dtype)
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    plan, _ = generation.settle(language_model, given)
    questions = stage.Questions(attention, neighbours, num_neighbours, num_candidates, plan)
    findings = stage.inspect(language_model, text, questions, html)
    print_json({"model": str(path), **findings.record()}) if as_json else print_findings(findings)


def _show_document(
    identifier: str, reference: str | None, others: list[str], as_json: bool
) -> None:
    from llmctl.commands.stage_command import print_json
    from llmctl.core.artifacts.corpus_search import find_corpus
    from llmctl.core.errors import UsageError
    from llmctl.core.recipe import runs_directory
    from llmctl.core.stages.inspect_document import inspect_document

    if others:
        raise UsageError(f"--document asks no model, and does not go with {', '.join(others)}")
    if not reference:
        raise UsageError("--document of which corpus? try: llmctl inspect --document ID RUN")
    corpus = find_corpus(reference, runs_directory())
    found = inspect_document(corpus, identifier)
    if as_json:
        documents = [findings.record() for findings in found]
        print_json({"corpus": str(corpus), "documents": documents})
        return
    from llmctl.terminal.document_findings import print_documents

    print_documents(found)


def _show_tokens(model: str | None, text: str, *, as_json: bool, quiet: bool) -> None:
    from llmctl.commands.stage_command import print_json
    from llmctl.commands.tokenize_text import found_tokenizer
    from llmctl.core.stages.inspect_tokens import inspect_tokens
    from llmctl.terminal.token_colours import print_tokens

    path, tokenizer = found_tokenizer(model, quiet=quiet)
    findings = inspect_tokens(tokenizer, text)
    if as_json:
        print_json({"model": str(path), **findings.record()})
        return
    print_tokens(findings.tokens, text)
    if not quiet:
        sys.stdout.flush()
        typer.echo(findings.summary(), err=True)


def _read_stdin() -> str:
    from llmctl.core.artifacts.documents import not_utf8
    from llmctl.core.errors import DataError

    content = sys.stdin.buffer.read().removesuffix(b"\n")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"stdin: {not_utf8(error)} at byte {error.start:,}") from error
