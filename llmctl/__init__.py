"""llmctl: the whole life of a language model from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from llmctl.core.language_model.language_model import LanguageModel
    from llmctl.core.language_model.scoring import TextScore

__version__ = "0.1.0"


class Model:
    """A loaded language model; made by `load`."""

    def __init__(self, language_model: LanguageModel) -> None:
        self._language_model = language_model

    def complete(self, text: str, *, seed: int = 0, **settings: Any) -> str:
        """Return what the model writes after `text`.

        Args:
            text: The beginning.
            seed: The same seed gives the same continuation.
            **settings: As in a recipe's `generate` section: max_tokens, temperature, top_k,
                top_p, min_p, stop.

        Raises:
            UsageError: A setting is unknown or out of its range.
            DataError: The text is longer than the model's context.
        """
        from llmctl.core.recipe import generation_plan  # here, to keep `import llmctl` light

        plan = generation_plan(**settings)
        return next(self._language_model.complete([text], plan, seed=seed)).text

    def score(self, text: str) -> TextScore:
        """Return how surprised the model is by each token of `text`."""
        return self._language_model.score([text])[0]

    def embed(self, texts: Sequence[str], **settings: Any) -> NDArray[np.float32]:
        """Return a vector for each text, shape (texts, width of the model).

        Args:
            texts: The texts, none of them empty.
            **settings: pooling ("mean", "last" or "first"), layer, normalize and truncate;
                see `VectorPlan`.

        Raises:
            UsageError: A setting is out of its range.
            DataError: A text is empty, or longer than the model's context.
        """
        from llmctl.core.language_model.embedding import VectorPlan  # here, as above

        return self._language_model.embedder(VectorPlan(**settings)).embed(texts)


def load(path: str | Path, device: str = "auto", dtype: str = "auto") -> Model:
    """Load a model.

    Args:
        path: A model directory in Hugging Face's layout, the name of a run, or an id of the
            Hugging Face Hub.
        device: auto, cpu, cuda or mps.
        dtype: auto, float32, bfloat16 or float16.

    Raises:
        MissingInputError: There is no such model.
        DataError: Its files are damaged, or not of a family that llmctl computes.
        DeviceError: The device is not there.
    """
    from llmctl.core.artifacts.run_directory import find_model  # here, as above
    from llmctl.core.language_model.language_model import LanguageModel
    from llmctl.core.recipe import runs_directory

    directory = find_model(str(path), runs_directory())
    return Model(LanguageModel.load(directory, device=device, dtype=dtype))
