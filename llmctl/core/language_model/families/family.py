"""What llmctl knows of a public family of models: how its files name what we compute."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmctl.core.model.architecture import Architecture

Config = Mapping[str, Any]
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True)
class Family:
    """One family as data.

    Attributes:
        model_type: As in config.json.
        architecture: The class that transformers loads it with.
        tensor_names: Our name of a parameter, or of a part of one, → the name in the files;
            in both, `#` stands for the layer's number and then the expert's.
        read: config.json → architecture; raises DataError.
        write: architecture → its part of config.json; None for families never written anew.
        transposed: Our names of the matrices that the files hold as (inputs, outputs).
        optional_prefix: What the files' names may lack at their beginning.
        ignored: A pattern of tensors in the files that are no parameters.
        has_rotary_by_kind: Whether `rope_parameters` has an object for layers that see all
            and one for layers in a window.
        renamed: A field of config.json as transformers 5 writes it → as other readers know it.
        old_window_base: Where transformers 4 kept theta of layers in a window.
        is_half: The files hold more than is read, such as the half that sees pictures.
    """

    model_type: str
    architecture: str
    tensor_names: Mapping[str, str]
    read: Callable[[Config], Architecture]
    write: Callable[[Architecture], dict[str, Any]] | None = None
    transposed: frozenset[str] = field(default_factory=frozenset[str])
    optional_prefix: str = ""
    ignored: str = r".*\.rotary_emb\.inv_freq"
    has_rotary_by_kind: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    old_window_base: str | None = None
    is_half: bool = False

    def file_name(self, ours: str) -> str | None:
        """Return the name in the files of a parameter or part; None where it has none."""
        theirs = self.tensor_names.get(_NUMBER.sub("#", ours))
        if theirs is None:
            return None
        numbers = iter(_NUMBER.findall(ours))
        return re.sub("#", lambda _: next(numbers), theirs)

    def is_transposed(self, ours: str) -> bool:
        """Whether the files hold it as (inputs, outputs)."""
        return _NUMBER.sub("#", ours) in self.transposed
