"""A recipe: the YAML file as frozen, strictly typed plans. Every key has a default."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from llmctl.core import recipe_file
from llmctl.core.clean_plan import CleanPlan, Count, NotNegative, Plan, Share, Strings
from llmctl.core.errors import MissingInputError, RecipeError, UsageError
from llmctl.core.tokenize_plan import TokenizePlan

RUNS_VARIABLE = "LLMCTL_RUNS"
RECIPE_SUFFIXES = (".yaml", ".yml")
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
_SECONDS_BY_UNIT = {"s": 1.0, "min": 60.0, "h": 3600.0}
_NAME = re.compile(r"[^\W_][\w.-]*")


def seconds(duration: str) -> float:
    """Return the seconds in "100s", "30min" or "2h".

    Raises:
        ValueError: It is not a duration.
    """
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(f"expected a duration such as 100s, 30min or 2h, got {duration!r}")
    return float(match[1]) * _SECONDS_BY_UNIT[match[2]]


def _checked_duration(duration: str) -> str:
    seconds(duration)
    return duration


def _checked_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("expected letters, digits, '_', '.' and '-', a letter or digit first")
    return name


Duration = Annotated[str, pydantic.AfterValidator(_checked_duration)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Far beyond use, and logits changed by it are numbers still.
Addend = Annotated[float, Field(ge=-1e9, le=1e9)]
Divisor = Annotated[float, Field(ge=1e-6, le=1e6)]
Exponent = Annotated[float, Field(ge=-30, le=30)]
SamplerName = Literal["temperature", "top_k", "top_p", "min_p", "typical_p"]
SamplerNames = Annotated[tuple[SamplerName, ...], Field(strict=False)]


class ModelShape(Plan):
    """The Transformer's shape; the vocabulary comes from the tokenizer."""

    num_layers: Count = 6
    """Blocks of attention and MLP."""
    width: Count = 256
    """Width of the residual stream."""
    num_heads: Count = 4
    """Query heads."""
    num_key_value_heads: Count = 2
    """Key and value heads, each shared by num_heads / num_key_value_heads query heads."""
    head_width: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Width of one head."""
    mlp_width: Count = 704
    """Inner width of the SwiGLU MLP."""
    context_tokens: Annotated[int, Field(ge=2)] = 256
    """Longest sequence the model is trained on."""
    tie_embeddings: bool = True
    """Use the embedding table as the output matrix too."""
    rotary_base: Positive = 10_000.0
    """Base of the rotary position angles (theta)."""
    norm_epsilon: Positive = 1e-6
    """Added to the mean square in RMSNorm."""

    @pydantic.field_validator("num_key_value_heads")
    @classmethod
    def _divides_heads(cls, value: int, info: pydantic.ValidationInfo) -> int:
        num_heads = info.data.get("num_heads")
        if num_heads is not None and num_heads % value:
            raise ValueError(f"must divide num_heads, which is {num_heads}")
        return value


class TrainPlan(Plan):
    """Shards → model."""

    budget: Duration = "100s"
    """Train for about so long: "100s", "30min", "2h". The steps follow from the measured speed."""
    steps: Count | None = None
    """Train for so many steps; takes the budget's place."""
    tokens_per_step: Count = 4096
    """Tokens that one optimizer step learns from."""
    learning_rate: Positive = 0.01
    """Peak rate of Muon, which updates the matrices."""
    embedding_learning_rate: Positive = 0.01
    """Peak rate of AdamW on the embedding and the output matrix."""
    norm_learning_rate: Positive = 0.01
    """Peak rate of AdamW on the gains of the norms."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Muon's momentum."""
    weight_decay: NotNegative = 0.05
    """Decoupled weight decay of the matrices, in units of their learning rate."""
    warmup_share: Share = 0.02
    """Share of the steps over which the rates rise from zero."""
    cooldown_share: Share = 0.6
    """Share of the steps over which the rates fall to zero, linearly."""
    clip_norm: Positive | None = 1.0
    """Gradients are scaled down to this norm; null: never."""
    num_validations: Annotated[int, Field(ge=0)] = 8
    """How often the validation split is scored during training, evenly spread."""
    validation_tokens: Count = 65_536
    """At most so many tokens of the validation split are scored each time."""
    patience: Count | None = None
    """Stop after so many validations without a better loss, keeping the best; null: never."""
    checkpoint_every: Duration = "60s"
    """How often the state is saved, for resuming after a crash."""
    prompts: Strings = ("The world is", "Return a new list")
    """Continued during training, to watch the model learn to write."""
    num_samples: Annotated[int, Field(ge=0)] = 6
    """How often the prompts are continued."""
    sample_tokens: Count = 32
    """Tokens of each continuation."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _steps_replace_budget(cls, data: Any) -> Any:
        # The budget of a plan with steps decides nothing, so it must not enter the key.
        if isinstance(data, dict) and data.get("steps") is not None:
            return {**data, "budget": "0s"}
        return data


class EvalPlan(Plan):
    """Model and shards → report."""

    data: Strings = ()
    """Text files to score beside the validation split."""
    compression: bool = True
    """Compare with `xz -9`, alone and primed with the training text."""
    bootstrap_samples: Annotated[int, Field(ge=0)] = 1000
    """Resamples behind each 95 % interval; 0: no intervals."""


class GeneratePlan(Plan):
    """Model and prompt → text."""

    prompts: Annotated[Strings, Field(min_length=1)] = ("The world is", "Return a new list")
    """What `llmctl run` continues at its end."""
    max_tokens: Count = 64
    """Tokens written at most."""
    min_tokens: Annotated[int, Field(ge=0)] = 0
    """Tokens written before the end of a text may be chosen."""
    num_samples: Count = 1
    """Continuations of each prompt."""
    temperature: NotNegative = 0.7
    """Divides the logits; 0 takes the likeliest token each time."""
    top_k: Count | None = None
    """Choose among the k likeliest tokens."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = 0.95
    """Choose among the likeliest tokens that together have this probability."""
    min_p: Share | None = None
    """Choose among tokens at least so likely relative to the likeliest."""
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Choose among the tokens of this probability whose surprise is nearest to the expected."""
    samplers: SamplerNames = ("temperature", "top_k", "top_p", "min_p", "typical_p")
    """The order in which these act; one left out does not act."""
    repetition_penalty: Divisor = 1.0
    """Divides the logits (multiplies negative ones) of tokens in prompt or text; 1: none."""
    presence_penalty: Addend = 0.0
    """Subtracted from the logits of tokens written so far; the prompt's do not count."""
    frequency_penalty: Addend = 0.0
    """Subtracted for each time a token has been written; the prompt's do not count."""
    no_repeat_ngram: Count | None = None
    """No run of so many tokens is written that the prompt or the text already holds."""
    logit_bias: dict[Annotated[int, Field(ge=0, strict=False)], Addend] = Field(default={})
    """Added to the logits of tokens, by their ids."""
    stop: Strings = ()
    """Texts that end the writing; not written themselves."""
    time_limit_seconds: Positive | None = None
    """A text ends after so long, counted from the reading of its prompt."""
    num_beams: Count = 1
    """More than 1: beam search, which draws nothing and for which `samplers` do not act."""
    length_penalty: Exponent = 1.0
    """Beam search divides a text's log-probability by its length to this power."""
    early_stopping: Literal[True, False, "never"] = False
    """Beam search ends with enough texts (true), or once better ones are unlikely, or cannot be."""

    @pydantic.field_validator("samplers")
    @classmethod
    def _named_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        repeated = [name for index, name in enumerate(value) if name in value[:index]]
        if repeated:
            raise ValueError(f"{repeated[0]} is named twice; name each at most once")
        return value

    @pydantic.field_validator("num_beams")
    @classmethod
    def _enough_for_samples(cls, value: int, info: pydantic.ValidationInfo) -> int:
        num_samples = info.data.get("num_samples")
        if value > 1 and num_samples is not None and num_samples > value:
            raise ValueError(f"must be at least num_samples, which is {num_samples}")
        return value


class Recipe(Plan):
    """One run, from raw text to a model that writes."""

    name: Annotated[str, pydantic.AfterValidator(_checked_name)] = "run"
    """Names the folder under the runs; by default the recipe file's name."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Decides the order of the data, the initial weights and what is drawn."""
    clean: CleanPlan = CleanPlan()
    tokenize: TokenizePlan = TokenizePlan()
    model: ModelShape = ModelShape()
    train: TrainPlan = TrainPlan()
    eval: EvalPlan = EvalPlan()
    generate: GeneratePlan = GeneratePlan()


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe and where it came from.

    Attributes:
        recipe: The typed recipe.
        path: Its file.
        inputs_directory: What relative inputs are relative to.
    """

    recipe: Recipe
    path: Path
    inputs_directory: Path


def load_recipe(reference: str | Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe file, or a built-in recipe by its name, and apply `--set` overrides.

    Args:
        reference: A path, or the name of a built-in recipe.
        overrides: Assignments such as "train.steps=200".

    Raises:
        MissingInputError: No such file and no such built-in recipe.
        RecipeError: All that is wrong with it, a line each, as `file:line:column: key: …`.
    """
    path = find_recipe(str(reference))
    source = recipe_file.read(path)
    source.fill("name", _name_from(path))
    recipe = _validated(source, overrides)
    return LoadedRecipe(recipe, path, path.absolute().parent)


def _name_from(path: Path) -> str:
    """Return the recipe's name where it has none: that of its file, as far as a name may go."""
    return re.sub(r"[^\w.-]+", "-", path.name.removesuffix(path.suffix)).strip("-._") or "run"


def override(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Apply `--set` assignments to a recipe that came from no file.

    Raises:
        RecipeError: All that is wrong with them, a line each.
    """
    source = recipe_file.RecipeSource(Path("recipe"))
    source.data = recipe.model_dump(mode="json", exclude_unset=True)
    return _validated(source, overrides)


def generation_plan(**settings: object) -> GeneratePlan:
    """Return the default plan with other settings.

    Raises:
        UsageError: A value is out of its range.
    """
    try:
        return GeneratePlan.model_validate(settings)
    except pydantic.ValidationError as error:
        item = error.errors()[0]
        name = ".".join(str(part) for part in item["loc"])
        raise UsageError(f"{name}: {item['msg']}, found {shortened(item['input'])}") from None


def _validated(source: recipe_file.RecipeSource, overrides: Sequence[str]) -> Recipe:
    for assignment in overrides:
        source.override(assignment)
    try:
        recipe = Recipe.model_validate(source.data)
    except pydantic.ValidationError as error:
        raise RecipeError("\n".join(recipe_file.explain(source, Recipe, error))) from None
    if source.errors:
        raise RecipeError("\n".join(recipe_file.explain(source, Recipe)))
    return recipe


def user_path(text: str) -> Path:
    """Return a path; `~` at its beginning is the home directory, where there is one."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's raises where there is none


def find_recipe(reference: str) -> Path:
    """Return the path of a recipe named by path or by a built-in's name.

    Raises:
        MissingInputError: There is neither; the message lists the built-in ones.
    """
    path = user_path(reference)
    if path.is_file():
        return path
    known = built_in_recipes()
    if reference in known:
        return known[reference]
    listed = ", ".join(known) or "none"
    if path.is_dir():
        raise MissingInputError(f"{reference}: a directory; expected a recipe file")
    raise MissingInputError(
        f"{reference}: no such recipe file, and no built-in recipe of that name "
        f"(built in: {listed})"
    )


def built_in_recipes() -> dict[str, Path]:
    """The recipes shipped with llmctl, by name: beside the code, or in a checkout's root."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            found = sorted(path for path in folder.iterdir() if path.suffix in RECIPE_SUFFIXES)
            return {path.stem: path for path in found}
    return {}


def runs_directory() -> Path:
    """Where runs lie: `$LLMCTL_RUNS`, else `runs` in the working directory."""
    return Path(os.environ.get(RUNS_VARIABLE) or "runs")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, for editors."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "llmctl recipe"
    return schema
