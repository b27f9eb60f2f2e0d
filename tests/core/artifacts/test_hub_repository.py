"""locate: from the Hub's cache without a network, else downloaded, else told why not."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import warnings

import pytest
from fake_hub import COMMIT, SHARDED, WHOLE

from llmctl.core.artifacts import hub_connection
from llmctl.core.artifacts.hub_cache import HubReference, parse_reference
from llmctl.core.artifacts.hub_repository import locate
from llmctl.core.errors import DataError, Interrupted, MissingInputError, OutputError
from llmctl.core.progress import Progress

PICKLES_AND_CODE = {
    "pytorch_model.bin": b"cos\nsystem\n.",
    "model.pt": b".",
    "modeling_new.py": b"raise SystemExit",
    "tf_model.h5": b"x",
    "other.safetensors": b"x",
    "README.md": b"x",
}


class Counting(Progress):
    """Remembers what it was told; ends the work after `limit_mb`, if given."""

    def __init__(self, limit_mb=float("inf")):
        super().__init__()
        self.begun, self.done, self.num_ends, self.limit_mb = [], 0.0, 0, limit_mb

    def begin(self, activity, total=None, unit=""):
        self.begun.append((activity, total, unit))

    def advance(self, amount=1, **figures):
        assert self.begun
        self.done += amount

    def check(self):
        if self.done >= self.limit_mb:
            raise Interrupted(2)

    def end(self):
        self.num_ends += 1


def size_mb(files):
    return sum(map(len, files.values())) / 1e6


@pytest.mark.parametrize("files", [WHOLE, SHARDED], ids=["one file", "shards"])
@pytest.mark.parametrize("offline", [None, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_cached_model_needs_no_network(files, offline, fill_cache, monkeypatch):
    if offline:
        monkeypatch.setenv(offline, "1")
    snapshot = fill_cache("a/b", files)

    assert locate(HubReference("a/b")) == snapshot


def test_a_cached_model_does_not_import_the_downloader(fill_cache):
    fill_cache("a/b", WHOLE)
    code = (
        "import sys; from pathlib import Path\n"
        "from llmctl.core.artifacts.run_directory import find_model\n"
        "print(find_model('a/b', Path('runs')).name)\n"
        "print({'torch', 'huggingface_hub'} & set(sys.modules))"
    )

    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert finished.stdout.split() == [COMMIT, "set()"], finished.stderr


@pytest.mark.parametrize("files", [WHOLE, SHARDED], ids=["one file", "shards"])
@pytest.mark.parametrize("reference", ["name", "a/b", "a/b@v1", f"a/b@{COMMIT}"])
def test_downloads_what_is_needed_and_nothing_else(files, reference, fake_hub, capfd):
    wanted = parse_reference(reference)
    fake_hub.repositories[wanted.id] = {**PICKLES_AND_CODE, **files}
    progress = Counting()

    snapshot = locate(wanted, progress=progress)

    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == files
    assert sorted(fake_hub.fetched) == sorted(files)
    assert progress.begun == [(f"download {wanted.id}", size_mb(files), "MB")]
    assert progress.done == pytest.approx(size_mb(files))
    assert progress.num_ends == 1
    assert capfd.readouterr() == ("", "")
    assert locate(wanted) == snapshot == wanted.cached()
    assert len(fake_hub.fetched) == len(files)


def test_the_cache_is_the_one_that_huggingface_hub_reads(fake_hub, hub_cache):
    from huggingface_hub import snapshot_download

    fake_hub.repositories["a/b"] = WHOLE

    snapshot = locate(HubReference("a/b"))

    assert snapshot_download("a/b", cache_dir=hub_cache, local_files_only=True) == str(snapshot)


def test_one_whole_file_is_preferred_to_shards(fake_hub):
    fake_hub.repositories["a/b"] = {**SHARDED, **WHOLE}

    locate(HubReference("a/b"))

    assert "model.safetensors" in fake_hub.fetched
    assert "two.safetensors" not in fake_hub.fetched


def test_an_interrupted_download_goes_on(fake_hub, hub_cache):
    fake_hub.repositories["a/b"] = SHARDED
    progress = Counting(limit_mb=size_mb(SHARDED) - 1e-9)  # in the last file

    with pytest.raises(Interrupted):
        locate(HubReference("a/b"), progress=progress)
    assert progress.num_ends == 1
    assert HubReference("a/b").cached() is None
    assert not list(hub_cache.rglob("two.safetensors"))
    again = Counting()
    snapshot = locate(HubReference("a/b"), progress=again)

    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == SHARDED
    assert fake_hub.fetched.count("model-00001-of-00002.safetensors") == 1
    assert again.done == pytest.approx(size_mb(SHARDED))


def test_what_the_cache_lacks_is_added(fake_hub, fill_cache):
    fake_hub.repositories["a/b"] = WHOLE
    snapshot = fill_cache("a/b", {"config.json": b"{}"})

    assert locate(HubReference("a/b")) == snapshot
    assert (snapshot / "model.safetensors").read_bytes() == WHOLE["model.safetensors"]
    assert "config.json" not in fake_hub.fetched


def without(files, *names):
    return {name: content for name, content in files.items() if name not in names}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            without(WHOLE, "model.safetensors"),
            "holds no safetensors, and pickled weights are never",
        ),
        (without(WHOLE, "config.json"), "it lacks config.json, or both tokenizer.json and vocab.j"),
        (without(WHOLE, "merges.txt"), "it lacks config.json, or both tokenizer.json and vocab.js"),
        (without(SHARDED, "two.safetensors"), "its index names two.safetensors, which is not the"),
    ],
)
def test_refuses_a_repository_that_holds_no_model(files, message, fake_hub):
    fake_hub.repositories["a/b"] = {**files, "pytorch_model.bin": b"x"}

    with pytest.raises(MissingInputError, match=f"cannot be downloaded: .*{message}"):
        locate(HubReference("a/b"))
    assert set(fake_hub.fetched) <= {"model.safetensors.index.json"}


def test_an_index_cannot_ask_for_other_files(fake_hub):
    index = b'{"weight_map": {"a": "../pytorch_model.bin"}}'
    fake_hub.repositories["a/b"] = {**SHARDED, "model.safetensors.index.json": index}

    with pytest.raises(DataError, match=r"weight_map names '../pytorch_model.bin'; expected"):
        locate(HubReference("a/b"))


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        ((404, "RepoNotFound"), "has no public model of that name"),
        ((401, "RepoNotFound"), "has no public model of that name"),
        ((403, "GatedRepo"), "gives it only to those who were granted access, by their HF_TOKEN"),
        ((500, ""), "does not answer as it should: \"HTTPStatusError: Server error '500"),
        ((200, ""), "does not answer as it should: 'JSONDecodeError: "),
    ],
)
def test_says_why_the_hub_refused(refusal, message, fake_hub, hub_cache, capfd):
    fake_hub.refusals["a/b"] = refusal

    with pytest.raises(MissingInputError) as caught:
        locate(HubReference("a/b"))
    said = str(caught.value)
    assert said.startswith(f"a/b: the Hub's cache {hub_cache} does not hold it, and it cannot be ")
    assert message in said
    assert said.endswith("; name the directory of a model that lies elsewhere with -m DIRECTORY")
    assert said.isprintable()
    assert len(said) < 600
    assert capfd.readouterr() == ("", "")


def test_says_which_revision_is_not_there(fake_hub):
    fake_hub.repositories["a/b"] = WHOLE

    with pytest.raises(MissingInputError, match="has no revision v9 of it"):
        locate(HubReference("a/b", "v9"))


@pytest.mark.parametrize("commit", ["../../../x", "main", ""])
def test_does_not_follow_a_hub_that_names_no_commit(commit, fake_hub):
    fake_hub.repositories["a/b"] = WHOLE
    fake_hub.commit = commit

    with pytest.raises(MissingInputError, match="does not answer as the Hub does"):
        locate(HubReference("a/b"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("HF_HUB_OFFLINE", "1"), ("HF_HUB_OFFLINE", "yes"), ("TRANSFORMERS_OFFLINE", "True")],
)
def test_asks_nobody_where_that_is_forbidden(name, value, fake_hub, fill_cache, monkeypatch):
    fake_hub.repositories["a/b"] = WHOLE
    monkeypatch.setenv(name, value)
    snapshot = fill_cache("a/b", without(WHOLE, "merges.txt"))

    with pytest.raises(
        MissingInputError, match=f"{COMMIT} holds only parts of it, .*: {name} is set; name"
    ):
        locate(HubReference("a/b"))
    assert (fake_hub.fetched, len(list(snapshot.iterdir()))) == ([], 3)


def test_says_that_nobody_answers(fake_hub, monkeypatch, capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")

        with pytest.raises(MissingInputError, match=r"as it should: 'ConnectError: .*refused"):
            locate(HubReference("a/b"))
    assert capfd.readouterr() == ("", "")


def test_does_not_wait_for_ever(fake_hub, monkeypatch):
    from huggingface_hub import HfApi

    monkeypatch.setattr(hub_connection, "ANSWER_SECONDS", 0.2)
    waited = threading.Event()
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: waited.wait(60))

    with pytest.raises(MissingInputError, match=r"cannot be downloaded: no answer within 0.2 s"):
        locate(HubReference("a/b"))
    waited.set()


def test_an_interrupt_is_heeded_while_nobody_answers(fake_hub, monkeypatch):
    from huggingface_hub import HfApi

    waited = threading.Event()
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: waited.wait(60))

    with pytest.raises(Interrupted):
        locate(HubReference("a/b"), progress=Counting(limit_mb=0))
    waited.set()


def test_a_cache_that_cannot_be_written_is_told(fake_hub, hub_cache):
    fake_hub.repositories["a/b"] = WHOLE
    hub_cache.write_text("a file")

    with pytest.raises(OutputError, match="cannot be created: "):
        locate(HubReference("a/b"))


def test_warnings_of_the_downloader_stay_inside(fake_hub, monkeypatch, capfd):
    from huggingface_hub import HfApi
    from huggingface_hub.utils import logging

    def tell(*_arguments, **_options):
        warnings.warn("a warning", stacklevel=1)
        logging.get_logger("huggingface_hub.x").warning("a line")
        raise OSError("and an end")

    former = logging.get_verbosity()
    monkeypatch.setattr(HfApi, "model_info", tell)

    with pytest.raises(MissingInputError, match="OSError: and an end"):
        locate(HubReference("a/b"))
    assert capfd.readouterr() == ("", "")
    assert logging.get_verbosity() == former
