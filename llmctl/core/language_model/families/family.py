"""What llmctl knows of a public family of models: how its files name what we compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmctl.core.recipe import ModelShape

Config = Mapping[str, Any]
LAYER = "{layer}"


@dataclass(frozen=True)
class Family:
    """One family as data.

    Attributes:
        model_type: As in config.json.
        architecture: The class that transformers loads it with.
        tensor_names: Our parameter's name → the name in the files; in both, `{layer}`
            stands for the layer's number.
        output_name: The name in the files of the output matrix, which a tied model may
            hold once more.
        shape_from_config: config.json → shape and vocabulary size; raises DataError.
        config_from_shape: shape → the architecture's part of config.json.
    """

    model_type: str
    architecture: str
    tensor_names: Mapping[str, str]
    output_name: str
    shape_from_config: Callable[[Config], tuple[ModelShape, int]]
    config_from_shape: Callable[[ModelShape], dict[str, Any]]

    def names(self, shape: ModelShape) -> Iterator[tuple[str, str]]:
        """Yield (our name, name in the files) of each parameter, layer by layer."""
        for ours, theirs in self.tensor_names.items():
            if LAYER not in ours and not (shape.tie_embeddings and theirs == self.output_name):
                yield ours, theirs
        for layer in range(shape.num_layers):
            for ours, theirs in self.tensor_names.items():
                if LAYER in ours:
                    yield ours.format(layer=layer), theirs.format(layer=layer)
