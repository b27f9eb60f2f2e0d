"""OLMo 3: OLMo 2 with three of four layers in a window; only the others' positions are scaled.

Source: OLMo Team 2025, "OLMo 3".
"""

from __future__ import annotations

from llmctl.core.language_model.families import olmo2
from llmctl.core.language_model.families.config_fields import number
from llmctl.core.language_model.families.decoder_fields import (
    FULL_ATTENTION,
    SLIDING_ATTENTION,
    num_layers,
    windows,
)
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import layer_rotaries
from llmctl.core.model.architecture import Architecture, Layer

_DEFAULT_BASE = 500_000.0
_PATTERN = 4


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = olmo2.olmo_fields(config)
    layers = num_layers(config)
    types = [
        SLIDING_ATTENTION if (index + 1) % _PATTERN else FULL_ATTENTION for index in range(layers)
    ]
    # transformers lets the layers in a window know nothing of the old spelling's theta.
    whole, local = layer_rotaries(
        config,
        fields["head_width"],
        number(config, "rope_theta", _DEFAULT_BASE),
        _DEFAULT_BASE,
    )
    scale = fields["head_width"] ** -0.5
    return Architecture(
        **fields,
        layers=tuple(
            Layer(scale, whole if window is None else local, window)
            for window in windows(config, types)
        ),
    )


FAMILY = Family("olmo3", "Olmo3ForCausalLM", olmo2.NAMES, read, has_rotary_by_kind=True)
