"""run_directory: what a run is seen to hold, and which model is meant."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from fake_hub import WHOLE

from llmctl.core.artifacts.run_directory import (
    RunDirectory,
    checkpoint_steps,
    find_model,
    finished_models,
    list_runs,
)
from llmctl.core.errors import MissingInputError, OutputError
from llmctl.core.lock import exclusive
from llmctl.core.manifest import Identity, write_manifest
from llmctl.core.progress import Progress


@pytest.fixture
def run(tmp_path):
    (tmp_path / "runs" / "跑").mkdir(parents=True)
    return RunDirectory(tmp_path / "runs" / "跑")


def make_model(path, seconds: int = 0):
    """A finished model, written so many seconds after the epoch."""
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    write_manifest(path, Identity("model", {}), {})
    os.utime(path / "manifest.json", (seconds, seconds))
    return path


def test_the_resolved_recipe_is_written_once(run, operations):
    run.write_resolved({"name": "跑", "seed": 1})
    written = (run.path / "recipe.resolved.yaml").read_text(encoding="utf-8")
    run.write_resolved({"name": "跑", "seed": 1})
    assert [operation for operation, _ in operations].count("rename") == 1

    run.write_resolved({"name": "跑", "seed": 2})

    assert written == "name: 跑\nseed: 1\n"
    assert yaml.safe_load((run.path / "recipe.resolved.yaml").read_text("utf-8"))["seed"] == 2


def test_events_are_lines_of_json(run):
    run.log("started", stage="clean", reasons=["名字"])
    run.log("stopped", error="bytes that are no text: \udcc4")

    lines = (run.path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["started", "stopped"]
    assert '"reasons": ["名字"]' in lines[0]
    assert json.loads(lines[1])["error"].endswith("\udcc4")


def test_an_event_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "events.jsonl").mkdir()

    with pytest.raises(OutputError, match=r"events.jsonl: cannot be created"):
        RunDirectory(tmp_path).log("started")


def test_an_empty_run_has_neither_training_nor_holder(run):
    assert (run.training_key(), run.training_plan(), run.last_step()) == (None, {}, 0)
    assert run.holder() is None
    assert checkpoint_steps(run.training) == []


def test_the_holder_is_who_has_the_lock(run):
    with exclusive(run.lock):
        assert f"process {os.getpid()} " in (run.holder() or "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param('{"key": "ab", "plan": {"seed": 1}}', ("ab", {"seed": 1}), id="whole"),
        pytest.param("{", (None, {}), id="damaged"),
        pytest.param("[]", (None, {}), id="no record"),
    ],
)
def test_a_training_is_known_by_its_decisions(run, content, expected):
    run.training.mkdir()
    (run.training / "decisions.json").write_text(content)

    assert (run.training_key(), run.training_plan()) == expected


def test_only_whole_checkpoints_count_in_the_order_of_steps(run):
    for name in ("step-00000010", "step-00000009", ".work-step-00000011", "step-12", "step-x"):
        (run.training / name).mkdir(parents=True)
        (run.training / name / "manifest.json").write_text("{}")
    (run.training / "step-00000099").mkdir()

    assert checkpoint_steps(run.training) == [9, 10]
    assert run.last_step() == 10


def test_runs_are_the_folders_with_a_resolved_recipe(run, tmp_path):
    RunDirectory(tmp_path / "runs" / "a").path.mkdir()
    (tmp_path / "runs" / "file").write_text("x")
    for name in ("跑", "a"):
        (tmp_path / "runs" / name / "recipe.resolved.yaml").write_text("x")
    (tmp_path / "runs" / "other").mkdir()

    assert [found.path.name for found in list_runs(tmp_path / "runs")] == ["a", "跑"]
    assert list_runs(tmp_path / "absent") == []


def test_finished_models_are_those_in_place_and_aside(run):
    for name in ("model", "model-0123abcd", "model-new", "other", "model-0123abcde"):
        make_model(run.path / name)
    (run.path / "model-ffffffff").mkdir()

    assert [path.name for path in finished_models(run.path)] == ["model", "model-0123abcd"]
    assert finished_models(run.path / "absent") == []


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param("DIR/runs/跑/model", id="its directory"),
        pytest.param("DIR/runs/跑", id="its run's directory"),
        pytest.param("跑", id="its run's name"),
    ],
)
def test_a_model_is_found_by(run, tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    model = make_model(run.path / "model")
    make_model(run.path / "model-0123abcd", 9)

    found = find_model(reference.replace("DIR", str(tmp_path)), tmp_path / "runs")

    assert found == model


def test_a_directory_comes_before_a_run_of_its_name(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_model(run.path / "model")
    make_model(tmp_path / "跑")

    assert str(find_model("跑", tmp_path / "runs")) == "跑"


def test_a_run_whose_models_all_stepped_aside_gives_the_newest(run, tmp_path):
    newest = make_model(run.path / "model-00000000", 2)
    make_model(run.path / "model-ffffffff", 1)

    assert find_model("跑", tmp_path / "runs") == newest
    assert find_model(str(run.path), tmp_path / "runs") == newest


def test_without_a_name_the_newest_model_of_all_runs_is_meant(tmp_path):
    runs = tmp_path / "runs"
    models = [make_model(runs / name / "model", at) for name, at in (("a", 1), ("b", 3), ("c", 2))]
    for model in models:
        (model.parent / "recipe.resolved.yaml").write_text("x")

    assert find_model(None, runs) == models[1]


def test_where_there_is_none_it_says_where_it_looked(run, tmp_path):
    runs = tmp_path / "runs"

    with pytest.raises(MissingInputError, match="runs: no finished model here; train one with"):
        find_model(None, runs)
    with pytest.raises(
        MissingInputError,
        match=r"无: no model here; looked for config.json in 无, 无/model and .*runs",
    ):
        find_model("无", runs)


@pytest.mark.parametrize("reference", ["owner/name", "owner/name@v1"])
def test_what_is_neither_a_directory_nor_a_run_is_of_the_hub(
    reference, fill_cache, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    snapshot = fill_cache("owner/name", WHOLE, "v1" if "@" in reference else "main")

    assert find_model(reference, tmp_path / "runs") == snapshot


@pytest.mark.parametrize("name", ["name", "runs/name"])
def test_a_run_or_directory_comes_before_the_hub(name, fill_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill_cache("name", WHOLE)
    (tmp_path / name).mkdir(parents=True)

    with pytest.raises(MissingInputError, match=r"looked for config.json in name, .*/name/model$"):
        find_model("name", tmp_path / "runs")
    model = make_model(tmp_path / name / "model")

    assert find_model("name", tmp_path / "runs").resolve() == model


def test_what_the_hub_refuses_was_looked_for_everywhere(hub_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(
        MissingInputError,
        match=r"gpt: no model here; looked for config.json in gpt, gpt/model and .*runs/gpt/model; "
        r"on the Hugging Face Hub, gpt: the Hub's cache .* does not hold it, and it cannot be "
        r"downloaded: HF_HUB_OFFLINE is set; name the directory .* with -m DIRECTORY",
    ):
        find_model("gpt", tmp_path / "runs")


def test_a_download_is_told_to_the_progress(fake_hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fake_hub.repositories["a/b"] = WHOLE
    told = []

    class Told(Progress):
        def begin(self, activity, total=None, unit=""):
            told.append(activity)

    assert (find_model("a/b", tmp_path / "runs", Told()) / "config.json").is_file()
    assert told == ["download a/b"]


def test_damaged_manifest_does_not_hide_the_other_models(tmp_path):
    for name in ("broken", "sound"):
        model = tmp_path / name / "model"
        model.mkdir(parents=True)
        (model / "config.json").write_text("{}", encoding="utf-8")
        (tmp_path / name / "recipe.resolved.yaml").touch()
        write_manifest(model, Identity("model", {"name": name}), {})
    (tmp_path / "broken/model/manifest.json").write_text("{", encoding="utf-8")

    assert find_model(None, tmp_path) == tmp_path / "sound/model"
