"""Phi-3: a Llama whose files hold queries, keys and values, and gate and up, as one matrix.

Source: Abdin et al. 2024, "Phi-3 Technical Report", section 2.
"""

from __future__ import annotations

from llmctl.core.language_model.families import llama
from llmctl.core.language_model.families.config_fields import optional_count
from llmctl.core.language_model.families.decoder_fields import decoder_fields, num_layers
from llmctl.core.language_model.families.family import Config, Family
from llmctl.core.language_model.families.rotary_fields import read_rotary, rotary_parameters
from llmctl.core.model.architecture import Architecture, Layer

_NAMES = {
    **llama.NAMES,
    "blocks.#.attention.qkv.weight": "model.layers.#.self_attn.qkv_proj.weight",
    "blocks.#.mlp.gate_up.weight": "model.layers.#.mlp.gate_up_proj.weight",
}
_OLD_NAMES_OF_LONGROPE = ("su", "yarn")


def read(config: Config) -> Architecture:
    """Return the architecture that a config.json describes; raises DataError."""
    fields = decoder_fields(config, default_epsilon=1e-5)
    width = fields["head_width"]
    parameters = dict(rotary_parameters(config))
    kind = parameters.get("rope_type", parameters.get("type"))
    if kind in _OLD_NAMES_OF_LONGROPE:
        parameters["rope_type"] = "longrope"
    original = {"original_max_position_embeddings": 4096}
    rotary = read_rotary({**original, **config}, width, parameters=parameters)
    layer = Layer(width**-0.5, rotary, optional_count(config, "sliding_window"))
    return Architecture(**fields, layers=(layer,) * num_layers(config))


FAMILY = Family("phi3", "Phi3ForCausalLM", _NAMES, read)
