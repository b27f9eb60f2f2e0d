"""Whether tiktoken, built from a tokenizer.json, gives the ids of `tokenizers` for every text.

The two do the same thing differently. `tokenizers` cuts with Oniguruma and merges the pair of
the first merge in its list; tiktoken cuts with Rust's regular expressions and merges any pair
whose joined bytes are an entry, the one of the lowest id first. Three things are to be shown.

Shape: nothing but cutting by one expression and merging bytes happens to a text.

Merges: let every merge have a result of its own, the ids of the results rise in the order
of the merges, and every entry, its bytes merged alone by the list, come out as itself. Then
both do the same merges. They begin with the same bytes; let them have done the same so far,
and x, y stand side by side with the entry z = xy. No merge has reached over the ends of z, or
x, y would not fill it; so what happened within z is what happens to z alone, for the lowest
merge of a text is the lowest within z whenever it lies in z. z alone ends as z, so the one
merge that is left to it is x, y → z: it is in the list. What tiktoken may merge is therefore
what `tokenizers` may merge, in the same order, and at equal rank both take the leftmost.

Where whole pieces are looked up first (ignore_merges), entries may be out of the merges'
reach. tiktoken looks whole pieces up first, too, but knows one table for both purposes. If
z alone ends in three parts or more, two parts x, y never fill it, as the number of parts only
falls: tiktoken never merges to it either. If it ends in two, tiktoken would, and is not used.

Cuts: two engines cannot be proved equal by trying, but they were given the same expression,
and can differ in how they read it and in what they take for a letter. So the pieces of every
assigned character between others are compared, and those of random texts. To see the pieces
of tiktoken, it is given merges across every edge of two characters and told nothing else.
"""

from __future__ import annotations

import random
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import tiktoken
import tokenizers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from llmctl.core.errors import DataError
from llmctl.core.tokens.encoder import (
    Encoder,
    EncodersDiffer,
    LibraryEncoder,
    TiktokenEncoder,
    cutting_pattern,
    merge_pairs,
    mergeable_ranks,
    read_state,
)
from llmctl.core.tokens.encoding_errors import encoding_errors
from llmctl.core.tokens.pretokenizer_patterns import PATTERNS
from llmctl.core.tokens.token_decoder import byte_characters

AGREED_VERSIONS = ("0.14.0", "0.23.3")
"""Of tiktoken and `tokenizers`."""

_FIRST_CONTINUATION, _FIRST_LEAD = 0x80, 0xC0
_SURROGATES = range(0xD800, 0xE000)
_BETWEEN = "\ufdd0"  # no character, and in no text here
_GROUP_CHARACTERS = 64
_UNASSIGNED_STEP = 997
_NUM_RANDOM_TEXTS = 3000
_LONGEST = 24
_LONG_REPEATS = 700
_PATIENCE_SECONDS = 20
_ALPHABETS = (
    "ab'sSdtllvere’ſK ",
    "aZ09 \t\n\r\x0b\x0c\x85\xa0\u2028\u3000",
    "世界の、。！か゛ーｶﾞ々〆 a1\n",
    "aé\u0301\u200d\ufe0f👩❤ßŉǅʰªⅧ²٣अ्क ",
    "  \n\n\r\n.,!?-_/(){}<|>#*\"'a",
    "\x00\x7f\u00ad\u200b\ufeff\ue000\ufffd\U0010ffff\U00020bb7x1 ",
)


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether two encoders give the same ids for every text, and what speaks against it."""

    is_equal: bool
    reason: str = ""


def open_encoder(tokenizer_json: Path, *, is_proved: bool) -> Encoder:
    """Return the fastest encoder whose ids are those of `tokenizers`.

    Args:
        tokenizer_json: The file.
        is_proved: What `prove` said of it.

    Raises:
        MissingInputError: It is not there.
        DataError: It is damaged, or of a kind that is not understood.
    """
    return TiktokenEncoder(tokenizer_json) if is_proved else LibraryEncoder(tokenizer_json)


def prove(tokenizer_json: Path) -> Proof:
    """Try to show that tiktoken gives the ids of `tokenizers` for every text.

    Takes about a second, most of it for the characters of Unicode, unless the expression is
    one that is known to be cut by alike.

    Raises:
        MissingInputError: The file is not there.
        DataError: It is damaged, or its expression goes back over texts without end.
    """
    LibraryEncoder(tokenizer_json)  # refuses what is damaged
    state = read_state(tokenizer_json)
    pattern = cutting_pattern(state)
    reason = _against_shape(state)
    if reason or pattern is None:
        return Proof(False, reason or "text is not cut by one expression")
    reason = _against_merges(state["model"])
    if not reason and not is_known_to_agree(pattern):
        reason = against_cuts(pattern, str(tokenizer_json))
    if not reason:
        try:
            TiktokenEncoder(tokenizer_json).check(trial_texts())
        except EncodersDiffer as difference:
            reason = str(difference)
    return Proof(not reason, reason)


def _against_shape(state: Mapping[str, Any]) -> str:
    model = state["model"]
    if model.get("type") != "BPE":
        return f"the model is {model.get('type')}"
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(key):
            return f"the model has {key}"
    if state.get("normalizer") is not None:
        return "texts are normalized"
    plain = [
        token["content"] for token in state.get("added_tokens") or () if not token.get("special")
    ]
    if plain:
        return f"{plain[0]!r} is looked for in texts though it is not special"
    return _against_post_processor(state.get("post_processor"))


def _against_post_processor(processor: Mapping[str, Any] | None) -> str:
    # Without special tokens, a template leaves the text's own ids if it holds them once.
    match processor:
        case None | {"type": "ByteLevel"}:
            return ""
        case {"type": "Sequence", "processors": parts}:
            return next(filter(None, map(_against_post_processor, parts)), "")
        case {"type": "TemplateProcessing", "single": parts}:
            if sum("Sequence" in part for part in parts) == 1:
                return ""
        case _:
            pass
    return "ids are changed after merging"


def _against_merges(model: Mapping[str, Any]) -> str:
    vocab, merges = model["vocab"], merge_pairs(model)
    ranks = mergeable_ranks(model)
    characters = byte_characters()
    missing = [byte for byte in characters if bytes([byte]) not in ranks]
    if missing:
        return f"no entry for the byte 0x{missing[0]:02X}"
    results = [vocab[left + right] for left, right in merges]
    if any(first >= second for first, second in pairwise(results)):
        return "the ids of merged entries do not rise in the order of the merges"
    entries = ["".join(map(characters.__getitem__, token)) for token in ranks]
    merging = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    for entry, encoding in zip(entries, merging.encode_batch_fast(entries), strict=True):
        num_parts = len(encoding.ids)
        if num_parts == 2 or (num_parts > 1 and not model.get("ignore_merges")):
            return f"merging does not lead to the entry {entry!r}"
    return ""


def is_known_to_agree(pattern: str) -> bool:
    """Tell whether both engines, as installed, are known to cut alike by an expression.

    Comparing them takes most of the time of a proof. Of the expressions that llmctl names it
    was done for these versions, by `test_engines_agree_on_every_expression`.
    """
    is_named = pattern in PATTERNS.values()
    return is_named and (tiktoken.__version__, tokenizers.__version__) == AGREED_VERSIONS


def against_cuts(pattern: str, name: str) -> str:
    """Return what speaks against it that both engines cut alike by an expression; "": nothing.

    Args:
        pattern: The expression.
        name: Of the tokenizer, for messages.

    Raises:
        DataError: It goes back over short texts without end.
    """
    split = pre_tokenizers.Split(Regex(pattern), "isolated")

    start_seconds = time.process_time()

    def pieces(text: str) -> list[str]:
        if time.process_time() > start_seconds + _PATIENCE_SECONDS:
            raise DataError(
                f"{name}: its expression goes back over texts without end: short ones took more "
                f"than {_PATIENCE_SECONDS} s to be cut: {pattern!r:.200}"
            )
        with encoding_errors([text], name, split.pre_tokenize_str):
            return [piece for piece, _ in split.pre_tokenize_str(text)]

    of_trials = [pieces(text) for text in trial_texts()]
    ranks = _ranks_that_show_edges(chain.from_iterable(of_trials))
    try:
        theirs, of_each = (
            tiktoken.Encoding("edges", pat_str=each, mergeable_ranks=ranks, special_tokens={})
            for each in (pattern, f"[^{_BETWEEN}]+")
        )
    except ValueError as error:
        return f"tiktoken does not read the expression: {error}"
    for ours in chain(of_trials, map(pieces, _texts_of_all_characters())):
        text = "".join(ours)
        if theirs.encode_ordinary(text) != of_each.encode_ordinary(_BETWEEN.join(ours)):
            return f"tiktoken cuts otherwise within {text!r:.200}"
    return ""


def _ranks_that_show_edges(pieces: Iterable[str]) -> dict[bytes, int]:
    """Return merges that make another token wherever two pieces are one, or one is two.

    Pairs of bytes that stand at the edge of two characters come first, then known pieces.
    """
    second = [byte for byte in range(0x100) if not _FIRST_CONTINUATION <= byte < _FIRST_LEAD]
    edges = (bytes([left, right]) for left in range(0x100) for right in second)
    known = sorted({piece.encode() for piece in pieces})
    single = (bytes([byte]) for byte in range(0x100))
    return {token: rank for rank, token in enumerate(dict.fromkeys(chain(single, edges, known)))}


def trial_texts() -> list[str]:
    """Return the same few thousand short texts each time, of characters that are cut at.

    Some long ones follow, as libraries change their way of merging with a piece's length.
    """
    draw = random.Random(0)
    return [
        "".join(draw.choices(_ALPHABETS[number % len(_ALPHABETS)], k=draw.randint(1, _LONGEST)))
        for number in range(_NUM_RANDOM_TEXTS)
    ] + [unit * _LONG_REPEATS for unit in ("a", "the", "世界", " ", "\n ", "-=", "7", "é")]


@cache
def _texts_of_all_characters() -> tuple[str, ...]:
    """Every assigned character, and some others, between characters of other kinds.

    Those of the large scripts without case, nine of ten, stand in fewer places.
    """
    texts: list[str] = []
    group: list[str] = []
    for code in range(sys.maxunicode + 1):
        if code in _SURROGATES or chr(code) == _BETWEEN:
            continue
        character, kind = chr(code), unicodedata.category(chr(code))
        if kind in ("Cn", "Co") and code % _UNASSIGNED_STEP:
            continue
        places = "a{0}1{0}a" if kind == "Lo" else "a{0}a{0}1{0} {0}{0}\n{0}'{0}世{0}界 {0}."
        group.append(places.format(character))
        if len(group) == _GROUP_CHARACTERS:
            texts.append("\n".join(group))
            group.clear()
    return (*texts, "\n".join(group))
