"""recipe: defaults, what each value may be, overrides, where recipes are found."""

from __future__ import annotations

import json

import pydantic
import pytest
import yaml

from llmctl.core import recipe as recipe_module
from llmctl.core.errors import MissingInputError, RecipeError, UsageError
from llmctl.core.manifest import Identity
from llmctl.core.recipe import (
    Recipe,
    TrainPlan,
    built_in_recipes,
    find_recipe,
    generation_plan,
    json_schema,
    load_recipe,
    override,
    runs_directory,
    seconds,
)


@pytest.fixture
def load(tmp_path):
    def run(content: str, *overrides: str, name: str = "配方.yaml") -> Recipe:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return load_recipe(tmp_path / name, overrides).recipe

    return run


def refused(load, content: str, *overrides: str) -> list[str]:
    """The lines of the refusal, the file's path left out."""
    with pytest.raises(RecipeError) as raised:
        load(content, *overrides)
    assert raised.value.exit_code == 78
    return [line.rpartition("配方.yaml:")[2] for line in str(raised.value).splitlines()]


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("100s", 100.0), ("30min", 1800.0), ("2h", 7200.0), ("1.5 h", 5400.0), ("0s", 0.0)],
)
def test_durations(duration, expected):
    assert seconds(duration) == expected


@pytest.mark.parametrize("duration", ["", "100", "2 days", "-1s", "1h30min", "s", "1e3s", "100s\n"])
def test_what_is_no_duration_is_refused(duration):
    with pytest.raises(ValueError, match="expected a duration such as 100s, 30min or 2h, got "):
        seconds(duration)


def test_an_empty_file_is_the_default_recipe_under_the_files_name(load):
    found = load("", name="第一.v2.yaml")

    assert found == Recipe(name="第一.v2")


def test_relative_inputs_are_relative_to_the_recipes_folder(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yaml").write_text("name: b")
    monkeypatch.chdir(tmp_path)

    loaded = load_recipe("deep/a.yaml")

    assert loaded.inputs_directory == tmp_path / "deep"
    assert (str(loaded.path), loaded.recipe.name) == ("deep/a.yaml", "b")


def test_values_are_read_into_their_places(load):
    found = load(
        "seed: 7\nclean: {inputs: [数据/*.txt, '-']}\n"
        "train: {learning_rate: 1e-3, clip_norm: null}\n"
        "generate: {temperature: 0, stop: ['。']}\n"
    )

    assert found.seed == 7
    assert found.clean.inputs == ("数据/*.txt", "-")
    assert (found.train.learning_rate, found.train.clip_norm) == (0.001, None)
    assert (found.generate.temperature, found.generate.stop) == (0, ("。",))
    assert found.tokenize == Recipe().tokenize


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("seed: -1", "1:1: seed: input should be greater than or equal to 0, found -1"),
        ("seed: 1.0", "1:1: seed: input should be a valid integer, found 1.0"),
        ("seed: true", "1:1: seed: input should be a valid integer, found true"),
        ("seed: 9223372036854775808", "1:1: seed: input should be less than 9223372036854775808"),
        ("name: a/b", "1:1: name: expected letters, digits, '_', '.' and '-', a letter or digit"),
        ("name: ..", "1:1: name: expected letters, digits, '_', '.' and '-', a letter or digit"),
        ("name: 5", "1:1: name: input should be a valid string, found 5"),
        ("clean: {inputs: []}", "1:9: clean.inputs: list should have at least 1 item after"),
        ("clean: {inputs: a}", '1:9: clean.inputs: input should be a list, found "a"'),
        (
            "clean: {inputs: [a, 1]}",
            "1:21: clean.inputs.1: input should be a valid string, found 1",
        ),
        ("clean: {max_unreadable: .nan}", "1:9: clean.max_unreadable: input should be less than"),
        ("tokenize: {vocab_size: 256}", "1:12: tokenize.vocab_size: input should be greater than"),
        ("model: {head_width: 7}", "1:9: model.head_width: input should be a multiple of 2, found"),
        (
            "model: {num_heads: 4, num_key_value_heads: 3}",
            "1:23: model.num_key_value_heads: must divide num_heads, which is 4, found 3",
        ),
        ("train: {budget: soon}", "1:9: train.budget: expected a duration such as 100s, 30min or"),
        ("train: {budget: 100}", "1:9: train.budget: input should be a valid string, found 100"),
        ("train: {learning_rate: .inf}", "1:9: train.learning_rate: input should be a finite"),
        ("train: {learning_rate: .nan}", "1:9: train.learning_rate: input should be"),
        ("train: {learning_rate: -0.1}", "1:9: train.learning_rate: input should be greater than"),
        ("train: {momentum: 1}", "1:9: train.momentum: input should be less than 1, found 1"),
        ("generate: {temperature: .inf}", "1:12: generate.temperature: input should be a finite"),
        ("generate: {top_p: 0}", "1:12: generate.top_p: input should be greater than 0, found 0"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(load, content, expected):
    [line] = refused(load, content)

    assert line.startswith(expected)


def test_five_mistakes_give_five_lines(load):
    content = """\
seed: -1
clean:
  max_unreadble: 0.5
tokenize:
  vocab_size: no
train:
  learning_rate: 1e-3
  vocab_size: 4096
"""

    assert refused(load, content, "train.steps=0") == [
        "1:1: seed: input should be greater than or equal to 0, found -1",
        "3:3: clean.max_unreadble: no such key; did you mean max_unreadable?",
        '5:3: tokenize.vocab_size: input should be a valid integer, found "no"',
        "8:3: train.vocab_size: no such key; did you mean tokenize.vocab_size?",
        "--set train.steps=0: train.steps: input should be greater than or equal to 1, found 0",
    ]


def test_a_duplicate_key_alone_is_refused(load):
    assert refused(load, "seed: 1\nseed: 1\n") == ["2:1: seed: written twice; keep one of them"]


def test_overrides_change_single_values_and_the_later_one_wins(load):
    found = load("train: {steps: 5, momentum: 0.5}", "train.steps=6", "train.steps=7", "seed=2")

    assert (found.train.steps, found.train.momentum, found.seed) == (7, 0.5, 2)


def test_an_override_mends_what_the_file_has_wrong(load):
    assert load("train: {steps: 0}", "train.steps=1").train.steps == 1


def test_a_recipe_that_came_from_no_file_is_overridden_too():
    base = Recipe(name="模型", train=TrainPlan(steps=5, momentum=0.5))

    found = override(base, ["train.steps=6", "tokenize.vocab_size=300"])

    assert (found.name, found.train.steps, found.train.momentum) == ("模型", 6, 0.5)
    assert found.tokenize.vocab_size == 300
    with pytest.raises(RecipeError, match=r"^--set train.stes=6: train.stes: no such key; did you"):
        override(base, ["train.stes=6"])


def test_steps_take_the_budgets_place_so_that_it_decides_nothing():
    keys = {
        Identity("model", TrainPlan.model_validate(plan).model_dump(mode="json")).key
        for plan in ({"steps": 5}, {"steps": 5, "budget": "2h"}, {"steps": 5, "budget": "1min"})
    }

    assert len(keys) == 1
    assert TrainPlan().budget == TrainPlan(steps=None).budget == "100s"


def test_a_resolved_recipe_read_again_is_the_same(load):
    first = load("seed: 3\ntrain: {steps: 5, budget: 2h, prompts: [世界]}\n")

    again = load(yaml.safe_dump(first.model_dump(mode="json"), allow_unicode=True))

    assert again == first


def test_a_plan_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Recipe().train.steps = 5


@pytest.fixture
def built_in(tmp_path, monkeypatch):
    """A package with two built-in recipes, in a working directory that has none."""
    package = tmp_path / "package" / "llmctl"
    (package / "recipes").mkdir(parents=True)
    for name in ("quickstart.yaml", "large.yml", "notes.txt"):
        (package / "recipes" / name).write_text("seed: 9")
    monkeypatch.setattr(recipe_module, "__file__", str(package / "core" / "recipe.py"))
    monkeypatch.chdir(tmp_path)
    return package / "recipes"


def test_a_built_in_recipe_is_found_by_its_name(built_in):
    assert list(built_in_recipes()) == ["large", "quickstart"]
    assert load_recipe("quickstart").recipe == Recipe(name="quickstart", seed=9)


def test_a_checkouts_recipes_lie_in_its_root(built_in):
    built_in.rename(built_in.parents[1] / "recipes")

    assert list(built_in_recipes()) == ["large", "quickstart"]


def test_a_file_comes_before_a_built_in_of_its_name(built_in, tmp_path):
    (tmp_path / "quickstart").write_text("seed: 1")

    assert load_recipe("quickstart").recipe.seed == 1


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        pytest.param(
            "quikstart",
            r"quikstart: no such recipe file, and no built-in .* \(built in: large, quickstart\)",
            id="neither file nor built-in",
        ),
        pytest.param("package", "package: a directory; expected a recipe file", id="a directory"),
    ],
)
def test_a_recipe_that_is_nowhere_is_missing(built_in, reference, message):
    with pytest.raises(MissingInputError, match=message) as raised:
        find_recipe(reference)

    assert raised.value.exit_code == 66


def test_without_any_built_in_recipes_none_are_listed(built_in):
    built_in.rename(built_in.with_name("elsewhere"))

    with pytest.raises(MissingInputError, match=r"\(built in: none\)"):
        find_recipe("absent")


def test_every_shipped_recipe_is_valid():
    found = built_in_recipes()

    assert "quickstart" in found
    for name in found:
        assert load_recipe(name).recipe.name


def test_runs_lie_where_the_variable_says(monkeypatch):
    monkeypatch.delenv("LLMCTL_RUNS", raising=False)
    assert str(runs_directory()) == "runs"
    monkeypatch.setenv("LLMCTL_RUNS", "")
    assert str(runs_directory()) == "runs"
    monkeypatch.setenv("LLMCTL_RUNS", "/大盘/runs")
    assert str(runs_directory()) == "/大盘/runs"


def test_settings_of_generate_fall_back_to_the_defaults():
    found = generation_plan(temperature=0.0, top_k=None, max_tokens=5)

    assert (found.temperature, found.top_k, found.max_tokens, found.top_p) == (0.0, None, 5, 0.95)


def test_a_setting_of_generate_can_be_switched_off():
    assert generation_plan(top_p=None).top_p is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"temperature": -1.0},
            "^temperature: Input should be greater than or equal to 0, found -",
        ),
        ({"top_k": 0}, "^top_k: Input should be greater than or equal to 1, found 0"),
        ({"temperature": float("nan")}, "^temperature: Input should be"),
    ],
)
def test_a_setting_out_of_its_range_is_a_wrong_use(given, message):
    with pytest.raises(UsageError, match=message) as raised:
        generation_plan(**given)

    assert raised.value.exit_code == 2


def test_the_schema_knows_every_key_with_its_words_and_default():
    schema = json.loads(json.dumps(json_schema()))
    plans = {"train": "TrainPlan", "eval": "EvalPlan", "model": "ModelShape", "clean": "CleanPlan"}

    assert schema["$schema"].endswith("2020-12/schema")
    assert list(schema["properties"]) == list(Recipe.model_fields)
    for section, name in plans.items():
        definition = schema["$defs"][name]
        model = Recipe.model_fields[section].annotation
        assert list(definition["properties"]) == list(model.model_fields)
        assert definition["additionalProperties"] is False
        for key, entry in definition["properties"].items():
            assert entry["description"], key
            assert "default" in entry, key
