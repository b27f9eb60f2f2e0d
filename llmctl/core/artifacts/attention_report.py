"""What the tokens of a text look at in one layer, as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llmctl.core.artifacts.html_heat_maps import HeatMap, HeatMaps
from llmctl.core.artifacts.html_report import Heading, Page, Paragraph, Table
from llmctl.core.artifacts.html_text import shown_piece

NUM_STRONGEST = 3
_LONGEST_TEXT = 300


def attention_page(
    text: str, pieces: Sequence[str], layer: int, weights: Mapping[int, NDArray[np.float32]]
) -> Page:
    """Return the page of one layer's attention.

    Args:
        text: What was read.
        pieces: Its tokens, for people.
        layer: Counted from 0.
        weights: Of each head by its number, (T, T): row t is what token t looked at.
    """
    labels = [shown_piece(piece) for piece in pieces]
    maps = [
        HeatMap(f"Head {head}", labels, weights_TT.astype(float).tolist())
        for head, weights_TT in weights.items()
    ]
    mean_TT = np.stack([*weights.values()]).astype(np.float64).mean(axis=0)
    which = f"the mean of {len(maps)} heads" if len(maps) > 1 else maps[0].title.lower()
    caption = "Point at a cell for its number. Less than 1% is left empty."
    blocks: list[Paragraph | HeatMaps | Heading | Table] = [
        Paragraph(
            "Each row is a token, each cell in it how much it looked at the token above. "
            "A row sums to 1; no token sees those after it.",
            is_lead=True,
        )
    ]
    if len(maps) > 1:
        mean = HeatMap(f"Mean of {len(maps)} heads", labels, mean_TT.tolist())
        blocks += [HeatMaps((mean,), caption), Heading("Head by head"), HeatMaps(maps, caption)]
    else:
        blocks.append(HeatMaps(maps, caption))
    blocks += [
        Heading("Where each token looks most"),
        Table(
            ("token", "looks at"),
            [(label, _strongest(labels, mean_TT[row])) for row, label in enumerate(labels)],
            num_text_columns=2,
            caption=f"By {which}.",
        ),
    ]
    return Page(
        title=f"Layer {layer}" + (f", head {next(iter(weights))}" if len(maps) == 1 else ""),
        eyebrow="Attention",
        subtitle=text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…",
        blocks=tuple(blocks),
    )


def _strongest(labels: Sequence[str], weights_T: NDArray[np.float64]) -> str:
    order: list[int] = np.argsort(-weights_T, kind="stable")[:NUM_STRONGEST].tolist()
    return ", ".join(f"{labels[at]}\u00a0{weights_T[at]:.0%}" for at in order if weights_T[at] > 0)
