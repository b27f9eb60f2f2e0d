"""Which tokens a model's embedding puts near a word. D width, V vocabulary, C chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from llmctl.core.errors import UsageError
from llmctl.core.language_model.language_model import LanguageModel

CHUNK_ENTRIES = 16_384  # bounds what is converted to float32 at a time


@dataclass(frozen=True)
class Neighbour:
    """A token and the cosine of the angle between its embedding and the word's."""

    token_id: int
    piece: str
    cosine: float


@dataclass(frozen=True)
class Neighbourhood:
    """A word and the tokens nearest to it.

    Attributes:
        word: As it was encoded, a space before it included.
        pieces: Its tokens, for people; of several the mean of their embeddings was taken.
        token_ids: Their ids.
        neighbours: The nearest first, the word's own tokens left out.
    """

    word: str
    pieces: Sequence[str]
    token_ids: Sequence[int]
    neighbours: Sequence[Neighbour]

    @property
    def is_mean(self) -> bool:
        """Whether the word is several tokens."""
        return len(self.token_ids) > 1

    def record(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return asdict(self)


def neighbourhoods(
    language_model: LanguageModel, word: str, num_neighbours: int
) -> list[Neighbourhood]:
    """Return the nearest tokens of a word as it begins a text, and as it follows a space.

    The latter only where the word is no more tokens there: a vocabulary in which spaces
    belong to words has two entries for many of them, with embeddings of their own.

    Raises:
        UsageError: The word is empty.
        DataError: It cannot be encoded.
    """
    tokenizer = language_model.tokenizer
    ids = tokenizer.encode(word)
    if not ids:
        raise UsageError("--neighbours: the word is empty")
    forms = {word: ids}
    spaced = tokenizer.encode(f" {word}")
    if spaced != ids and len(spaced) <= len(ids):
        forms[f" {word}"] = spaced
    return [
        Neighbourhood(
            form, [*map(tokenizer.piece, ids)], ids, _nearest(language_model, ids, num_neighbours)
        )
        for form, ids in forms.items()
    ]


@torch.inference_mode()
def _nearest(
    language_model: LanguageModel, ids: Sequence[int], num_neighbours: int
) -> list[Neighbour]:
    # The embedding of many a public model has rows beyond the tokenizer's entries.
    tokenizer = language_model.tokenizer
    weight_VD = language_model.model.embedding.weight[: tokenizer.vocab_size]
    word_D = weight_VD[list(ids)].float().mean(dim=0)
    cosines_V = torch.cat(
        [
            torch.cosine_similarity(chunk_CD.float(), word_D, dim=-1)
            for chunk_CD in weight_VD.split(CHUNK_ENTRIES)
        ]
    )
    cosines_V[list(ids)] = -torch.inf
    num_others = len(cosines_V) - len(set(ids))
    nearest = cosines_V.topk(min(num_neighbours, num_others))
    return [
        Neighbour(token_id, tokenizer.piece(token_id), cosine)
        for token_id, cosine in zip(nearest.indices.tolist(), nearest.values.tolist(), strict=True)
    ]
