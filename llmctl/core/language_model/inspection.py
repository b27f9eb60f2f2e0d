"""What a model makes of a text, token by token.

T time, H heads, N targets, V vocabulary entries.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from llmctl.core.decoding.explanation import explain
from llmctl.core.decoding.generation import check_finite
from llmctl.core.decoding.history import History
from llmctl.core.errors import DataError, UsageError
from llmctl.core.language_model.language_model import LanguageModel
from llmctl.core.recipe import GeneratePlan

CHUNK_TARGETS = 128  # bounds the logits that exist at a time
MAX_ATTENTION_TOKENS = 128  # beyond, nobody can read the map
_CHOICE = re.compile(r"(\d+)(?:\.(\d+))?")


@dataclass(frozen=True)
class TokenFigures:
    """A token of a text and how the model expected it.

    Attributes:
        token_id: Its id.
        piece: The token for people; see `Tokenizer.piece`.
        log_probability: Given the tokens before it, in nats; None for a first token that
            nothing predicts, as the next two.
        rank: 1 where no token was likelier.
        entropy: Of the distribution that it was drawn from, in nats.
        running_sum: Log-probability of the text up to here, in nats.
    """

    token_id: int
    piece: str
    log_probability: float | None
    rank: int | None
    entropy: float | None
    running_sum: float

    @property
    def probability(self) -> float | None:
        """Given the tokens before it."""
        return None if self.log_probability is None else math.exp(self.log_probability)


@dataclass(frozen=True)
class NextToken:
    """A token that might come next.

    Attributes:
        token_id: Its id.
        piece: The token for people.
        before: Its probability as the model has it.
        after: Its probability in the draw.
        cut_by: The sampler that left it out, or None.
    """

    token_id: int
    piece: str
    before: float
    after: float
    cut_by: str | None


@dataclass(frozen=True)
class Inspection:
    """A text under a model; the chain rule makes the text's probability from its tokens'.

    Attributes:
        text: The text.
        num_bytes: UTF-8 bytes of the text that was predicted: all but a first token that
            nothing predicts.
        begin: The token from which the first is predicted, for people; None where there is none.
        tokens: The tokens of the text.
        candidates: What might come after each token read, the one that begins the text
            included; empty where it was not asked for.
    """

    text: str
    num_bytes: int
    begin: str | None
    tokens: Sequence[TokenFigures]
    candidates: Sequence[Sequence[NextToken]] = ()

    @property
    def log_probability(self) -> float:
        """Of the text, in nats: the sum over its tokens."""
        return self.tokens[-1].running_sum

    @property
    def num_predicted(self) -> int:
        """Tokens that have a probability."""
        return len(self.tokens) - (self.begin is None)

    @property
    def perplexity(self) -> float | None:
        """exp(-log P / tokens predicted); None where none is."""
        if not self.num_predicted:
            return None
        return math.exp(min(-self.log_probability / self.num_predicted, 700.0))

    @property
    def bits_per_byte(self) -> float | None:
        """-log2 P / bytes predicted; None where none is."""
        if not self.num_bytes:
            return None
        return -self.log_probability / (math.log(2) * self.num_bytes)

    def record(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "text": self.text,
            "begin": self.begin,
            "log_probability": self.log_probability,
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
            "num_bytes": self.num_bytes,
            "tokens": [
                {**asdict(token), "probability": token.probability} for token in self.tokens
            ],
            **(
                {"candidates": [[asdict(token) for token in step] for step in self.candidates]}
                if self.candidates
                else {}
            ),
        }


@dataclass(frozen=True)
class AttentionMap:
    """How much each token of a text looked at each before it.

    Attributes:
        pieces: The tokens read, for people, the one that begins the text included.
        layer: Whose attention it is, counted from 0.
        heads: Which heads, counted from 0.
        weights_HTT: Each head's: row t is what token t looked at, and sums to 1.
    """

    pieces: Sequence[str]
    layer: int
    heads: Sequence[int]
    weights_HTT: NDArray[np.float32]

    def record(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "pieces": list(self.pieces),
            "layer": self.layer,
            "heads": [
                {"head": head, "weights": weights_TT.astype(np.float64).round(6).tolist()}
                for head, weights_TT in zip(self.heads, self.weights_HTT, strict=True)
            ],
        }


@torch.inference_mode()
def inspect_text(
    language_model: LanguageModel,
    text: str,
    *,
    plan: GeneratePlan | None = None,
    num_candidates: int = 0,
) -> Inspection:
    """Return how the model expects each token of a text.

    The first token is predicted from the model's token that begins a text, or else ends it.

    Args:
        language_model: In any precision; probabilities are computed in float32.
        text: At least one token.
        plan: Temperature and samplers that the candidates pass; None for the default.
        num_candidates: So many tokens that might come next are told at each step.

    Raises:
        UsageError: The text is empty.
        DataError: It is longer than the context.
        NumericsError: The model's logits are not finite.
    """
    model, piece = language_model.model, language_model.tokenizer.piece
    plan = plan or GeneratePlan()
    ids, begin = _ids(language_model, text)
    states_TD = model.hidden(torch.tensor([ids], device=language_model.device))[0]
    tokens: list[TokenFigures] = []
    candidates: list[list[NextToken]] = []
    total = 0.0
    if begin is None:
        tokens.append(TokenFigures(ids[0], piece(ids[0]), None, None, None, total))
    for first in range(0, len(ids), CHUNK_TARGETS):
        logits_TV = model.logits(states_TD[first : first + CHUNK_TARGETS]).float()
        check_finite(logits_TV)
        targets = ids[first + 1 : first + 1 + len(logits_TV)]
        for token_id, figures in zip(targets, _figures(logits_TV, targets), strict=True):
            total += figures[0]
            tokens.append(TokenFigures(token_id, piece(token_id), *figures, total))
        for stop, logits_V in enumerate(logits_TV if num_candidates else (), first + 1):
            history = History(ids[:stop], plan.no_repeat_ngram)
            found = explain(logits_V, plan, history, num_tokens=num_candidates)
            candidates.append(
                [NextToken(piece=piece(each.token_id), **asdict(each)) for each in found]
            )
    unpredicted = 0 if begin is not None else len(language_model.tokenizer.token_bytes(ids[0]))
    num_bytes = len(text.encode("utf-8")) - unpredicted
    return Inspection(text, max(0, num_bytes), begin, tokens, candidates)


def _ids(language_model: LanguageModel, text: str) -> tuple[list[int], str | None]:
    """Return the ids to read for a text and, for people, the one that begins it, if any."""
    begin_id = language_model.generation.begin_id
    begin = [] if begin_id is None else [begin_id]
    ids = language_model.tokenizer.encode(text)
    if not ids:
        raise UsageError('the text is empty; try: llmctl inspect "The world is"')
    num_free = language_model.model.context_tokens - len(begin)
    if len(ids) > num_free:
        after = " after the one that begins a text" if begin else ""
        raise DataError(
            f"the text has {len(ids):,} tokens, and the model's context holds {num_free:,}{after}; "
            "shorten it"
        )
    return begin + ids, None if begin_id is None else language_model.tokenizer.piece(begin_id)


def _figures(logits_TV: Tensor, targets: Sequence[int]) -> list[tuple[float, int, float]]:
    """Return log-probability, rank and entropy of each target; T may be one more than those."""
    log_probabilities_NV = logits_TV[: len(targets)].log_softmax(dim=-1)
    targets_N1 = torch.tensor(targets, dtype=torch.int64, device=logits_TV.device)[:, None]
    chosen_N1 = log_probabilities_NV.gather(1, targets_N1)
    ranks_N = 1 + (log_probabilities_NV > chosen_N1).sum(dim=-1)
    entropies_N = torch.special.entr(log_probabilities_NV.exp()).sum(dim=-1)
    return list(zip(chosen_N1[:, 0].tolist(), ranks_N.tolist(), entropies_N.tolist(), strict=True))


def attention_map(
    language_model: LanguageModel, text: str, layer: int, head: int | None = None
) -> AttentionMap:
    """Return what the tokens of a text look at in one layer.

    Args:
        language_model: The model.
        text: At least one token.
        layer: Counted from 0.
        head: Counted from 0; None for all.

    Raises:
        UsageError: The text is empty, or there is no such layer or head.
        DataError: The text is longer than the context, or than a map can be.
    """
    architecture = language_model.model.architecture
    for name, number, count in (
        ("layer", layer, len(architecture.layers)),
        ("head", head or 0, architecture.num_heads),
    ):
        if number >= count:
            raise UsageError(
                f"--attention: no {name} {number}; the model has the {name}s 0 to {count - 1}"
            )
    ids, _ = _ids(language_model, text)
    if len(ids) > MAX_ATTENTION_TOKENS:
        raise DataError(
            f"the text has {len(ids):,} tokens, and a map of attention holds "
            f"{MAX_ATTENTION_TOKENS}; shorten it"
        )
    tokens_BT = torch.tensor([ids], device=language_model.device)
    trace = language_model.model.trace(tokens_BT, watched=[layer])
    weights_HTT = trace.attentions[0][0].float().cpu().numpy()
    heads = list(range(architecture.num_heads)) if head is None else [head]
    pieces = [*map(language_model.tokenizer.piece, ids)]
    return AttentionMap(pieces, layer, heads, weights_HTT[heads])


def layer_and_head(choice: str) -> tuple[int, int | None]:
    """Return the layer and the head, if one is named, of LAYER or LAYER.HEAD.

    Raises:
        UsageError: It is neither.
    """
    found = _CHOICE.fullmatch(choice)
    if found is None:
        raise UsageError(f"--attention {choice}: expected LAYER or LAYER.HEAD, such as 3 or 3.0")
    return int(found[1]), None if found[2] is None else int(found[2])
