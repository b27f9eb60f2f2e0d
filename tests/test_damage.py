"""Damaged models, manifests and checkpoints: named quickly, and never read as if sound."""

from __future__ import annotations

import json
import signal

import pytest
from preloaded_server import Trap
from refusals import BAD_DATA, refused

RUN = "runs/tiny"


def cut_short(path):
    """Leave the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def configure(folder, **values):
    """Change fields of config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | values), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "phrases"),
    [
        pytest.param(
            lambda model: cut_short(model / "tokenizer.json"), ["tokenizer.json"], id="tokenizer"
        ),
        pytest.param(
            lambda model: (model / "tokenizer.json").write_text("[]", encoding="utf-8"),
            ["tokenizer.json"],
            id="no tokenizer",
        ),
        pytest.param(
            lambda model: cut_short(model / "model.safetensors"),
            ["model.safetensors", "cut short"],
            id="weights",
        ),
        pytest.param(
            lambda model: cut_short(model / "config.json"), ["config.json", "not JSON"], id="config"
        ),
        pytest.param(
            lambda model: configure(model, hidden_size=2**40), ["hidden_size"], id="width"
        ),
        pytest.param(
            lambda model: configure(model, hidden_size=2**19), ["config.json"], id="large width"
        ),
        pytest.param(
            lambda model: configure(model, num_hidden_layers=2**20), ["config.json"], id="layers"
        ),
        pytest.param(
            lambda model: configure(model, vocab_size=2**20), ["config.json"], id="vocabulary"
        ),
        pytest.param(
            lambda model: configure(model, num_attention_heads=2**20, num_key_value_heads=2**20),
            ["config.json"],
            id="heads",
        ),
        pytest.param(lambda model: configure(model, head_dim=-2), ["head_dim"], id="negative"),
    ],
)
def test_damaged_model(server, tiny, damage, phrases):
    model = tiny / RUN / "model"
    damage(model)

    assert refused(server.run("generate", "x", "-m", "tiny", cwd=tiny), BAD_DATA, *phrases)


@pytest.mark.parametrize("content", [b"", b'{"kind": "mo\xff'])
def test_damaged_manifest(server, tiny, content):
    path = tiny / RUN / "shards/manifest.json"
    path.write_bytes(content)

    change = ("--set", "eval.bootstrap_samples=9")
    for command in (("eval", "tiny.yaml", *change), ("verify", RUN), ("verify", f"{RUN}/shards")):
        ended = server.run(*command, cwd=tiny)

        assert refused(ended, BAD_DATA, "shards/manifest.json: damaged")
    assert server.run("generate", "x", "--max-tokens", "2", cwd=tiny).exit_code == 0
    status = server.run("status", "tiny.yaml", "--json", cwd=tiny)
    assert json.loads(status.stdout)["tokenize"]["status"] == "damaged"
    assert server.run("status", cwd=tiny).exit_code == 0


@pytest.mark.parametrize(
    "name",
    [
        "state.safetensors",
        pytest.param("position.json", marks=pytest.mark.slow),
        pytest.param("manifest.json", marks=pytest.mark.slow),
    ],
)
def test_checkpoint_cut_short_gives_way_to_the_one_before(server, fresh, finished_folder, name):
    trap = Trap(operation="rename", path="training/step-00000005$")
    command = ("train", "tiny.yaml")
    assert server.run(*command, cwd=fresh, trap=trap).exit_code == -signal.SIGKILL
    cut_short(fresh / RUN / "training/step-00000005" / name)

    ended = server.run(*command, cwd=fresh)

    assert ended.exit_code == 0, ended.stderr
    assert "step-00000005" in ended.stderr
    assert "damaged" in ended.stderr
    assert "going back to the checkpoint before" in ended.stderr
    assert "going on after step 4 of 6" in ended.stderr
    assert server.run("verify", RUN, cwd=fresh).exit_code == 0


def test_damaged_decisions_can_be_given_up(server, fresh):
    trap = Trap(operation="rename", path="training/step-00000003$")
    assert server.run("train", "tiny.yaml", cwd=fresh, trap=trap).exit_code == -signal.SIGKILL
    cut_short(fresh / RUN / "training/decisions.json")

    ended = server.run("train", "tiny.yaml", cwd=fresh)

    assert refused(ended, BAD_DATA, "decisions.json: damaged", "--restart")
    assert (fresh / RUN / "training/step-00000003").exists()
    assert server.run("train", "tiny.yaml", "--restart", cwd=fresh).exit_code == 0
