"""export of shards: read back by the peers' own readers, every refusal, every crash."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import namedtuple
from itertools import chain, count
from pathlib import Path

import numpy as np
import pytest
from made_shards import write_document

from llmctl.core import manifest
from llmctl.core.artifacts.shards import SplitWriter, TokenShards, dtype_for
from llmctl.core.errors import (
    DataError,
    Interrupted,
    MissingInputError,
    OutputError,
    StorageError,
    UsageError,
)
from llmctl.core.manifest import Identity, check_files, read_manifest, write_manifest
from llmctl.core.progress import Progress
from llmctl.core.stages import export_shards as stage
from llmctl.core.standalone import export_shards

VOCAB_SIZE = 1000
TRAIN = [[5, 6, 0], [7, 0], [0], [8, 999, 9, 9, 0], [300, 0]]
VALIDATION = [[1, 2, 0], [3, 0]]
TRAIN_IDS, VALIDATION_IDS = list(chain(*TRAIN)), list(chain(*VALIDATION))
STEMS = ("train/00000", "train/00001", "validation/00000")
MASKS = [[0, 1, 1], [0, 1], [1], [0, 0, 1, 0, 1], [1, 1]]


class Told(Progress):
    """Remembers what it was told."""

    def __init__(self):
        super().__init__()
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.total = self.advanced = 0

    def begin(self, _activity, total=None, _unit=""):
        self.total = total

    def advance(self, amount=1, **_figures):
        self.advanced += amount

    def note(self, message):
        self.notes.append(message)

    def warn(self, message):
        self.warnings.append(message)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Many artifacts are made here: spare the disk, and asking for versions."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(manifest, "versions", dict)


def made(directory, *, vocab_size=VOCAB_SIZE, train=TRAIN, masks=None):
    """Shards of two files for training and one for validation."""
    directory.mkdir()
    counts = {"content": "text", "dtype": dtype_for(vocab_size).name, "vocab_size": vocab_size}
    for split, documents in (("train", train), ("validation", VALIDATION)):
        with SplitWriter(directory, split, vocab_size, shard_tokens=6) as writer:
            for ids in documents:
                write_document(writer, ids)
        counts |= {f"{split}_tokens": writer.num_tokens, f"{split}_documents": len(documents)}
    if masks is not None:
        flat = np.concatenate([*masks, np.ones(5)]).astype(np.uint8)
        start = 0
        for path in sorted(directory.glob("*.bin")):
            length = path.stat().st_size // dtype_for(vocab_size).itemsize
            flat[start : start + length].tofile(path.with_suffix(".mask"))
            start += length
    (directory / "tokenizer.json").write_text('{"中": 1}', encoding="utf-8")
    (directory / "documents.parquet").write_bytes(b"")
    write_manifest(directory, Identity("shards", {"of": vocab_size}), counts)
    return directory


@pytest.fixture
def shards(tmp_path):
    return made(tmp_path / "切片")


def export(source, out, format_name, progress=None):
    return export_shards(
        source, out, format_name=format_name, wait_seconds=0, progress=progress or Progress()
    )


def names_in(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def data_of(out):
    """The files of a whole artifact, checked by content; None where there is none."""
    found = read_manifest(out)
    if found is None:
        assert not out.exists()
        return None
    check_files(out, found)
    return {name: (out / name).read_bytes() for name in found.files}


def test_nanogpt_maps_all_documents_of_a_split(shards, tmp_path):
    told = Told()
    outcome = export(shards, tmp_path / "世界", "nanogpt", told)
    out = outcome.path

    assert outcome.ran == ["export"]
    assert names_in(out) == ["manifest.json", "tokenizer.json", "train.bin", "val.bin"]
    # As get_batch does it.
    train = np.memmap(out / "train.bin", dtype=np.uint16, mode="r")
    assert train.tolist() == TRAIN_IDS
    assert train[3 : 3 + 4].astype(np.int64).tolist() == [7, 0, 0, 8]
    assert np.memmap(out / "val.bin", dtype=np.uint16, mode="r").tolist() == VALIDATION_IDS
    assert (out / "tokenizer.json").read_bytes() == (shards / "tokenizer.json").read_bytes()
    assert outcome.manifest.parents == {"shards": TokenShards.open(shards).manifest.key}
    assert outcome.manifest.counts == {
        "format": "nanogpt",
        "content": "text",
        "dtype": "uint16",
        "vocab_size": VOCAB_SIZE,
        "train_documents": 5,
        "train_tokens": 13,
        "validation_documents": 2,
        "validation_tokens": 5,
    }
    assert told.total == told.advanced == 2 * (13 + 5)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".work")]


@pytest.mark.parametrize(
    ("vocab_size", "notes", "warnings"),
    [
        pytest.param(50_304, ["makes a model of 50,304 entries unless"], [], id="fits"),
        pytest.param(
            50_305,
            [],
            ["vocabulary has 50,305: put a number as large in the place of 50304"],
            id="one more",
        ),
        pytest.param(65_536, [], ["this vocabulary has 65,536"], id="all that 16 bits hold"),
    ],
)
def test_says_what_nanogpt_makes_of_the_vocabulary(vocab_size, notes, warnings, tmp_path):
    last = vocab_size - 1
    source = made(tmp_path / "shards", vocab_size=vocab_size, train=[[last, 0]])
    told = Told()

    out = export(source, tmp_path / "out", "nanogpt", told).path

    assert np.memmap(out / "train.bin", np.uint16, "r").tolist() == [last, 0]
    for found, expected in ((told.notes, notes), (told.warnings, warnings)):
        assert len(found) == len(expected)
        assert all(part in message for part, message in zip(expected, found, strict=True))


def test_says_that_nanogpt_learns_prompts_too(tmp_path):
    told = Told()
    out = export(made(tmp_path / "s", masks=MASKS), tmp_path / "out", "nanogpt", told).path

    assert told.warnings == ["nanoGPT reads no mask: it learns every token, prompts too"]
    assert np.memmap(out / "train.bin", np.uint16, "r").tolist() == TRAIN_IDS


@pytest.mark.parametrize(
    ("vocab_size", "token_bytes"), [pytest.param(1000, 2), pytest.param(65_537, 4)]
)
@pytest.mark.parametrize("masks", [None, MASKS])
def test_datatrove_reads_every_document(vocab_size, token_bytes, masks, tmp_path):
    pytest.importorskip("datatrove", reason="the oracle is not installed")
    from datatrove.tools.check_dataset import load_dataset_bytes, load_doc_ends

    train = [*TRAIN[:-1], [vocab_size - 1, 0]]
    source = made(tmp_path / "切片", vocab_size=vocab_size, train=train, masks=masks)
    told = Told()
    out = export(source, tmp_path / "出口", "datatrove", told).path

    per_file = ["", ".index", ".metadata"] + ([".loss"] if masks else [])
    assert names_in(out) == sorted(
        ["manifest.json", "tokenizer.json"]
        + [f"{stem}.ds{end}" for stem in STEMS for end in per_file]
    )
    found, found_masks = [], []
    for path in sorted((out / "train").glob("*.ds")):
        ends = load_doc_ends(path.with_suffix(".ds.index").open("rb"))
        blocks = load_dataset_bytes(path.open("rb"), ends, token_bytes)
        found += [np.frombuffer(block, f"<u{token_bytes}").tolist() for block in blocks]
        if masks:
            loss = path.with_suffix(".ds.loss").open("rb")
            found_masks += [list(block) for block in load_dataset_bytes(loss, ends, 1)]
    assert found == train
    assert found_masks == (masks or [])
    assert told.advanced == told.total
    assert (told.notes, told.warnings) == ([], [])
    metadata = (out / "train/00000.ds.metadata").read_text(encoding="utf-8")
    assert metadata == f"tokenizer.json|{token_bytes}\n6\n6.00 T"


@pytest.mark.parametrize(("vocab_size", "token_bytes"), [(1000, 2), (65_537, 4)])
def test_datatrove_reads_every_sequence(vocab_size, token_bytes, tmp_path):
    pytest.importorskip("datatrove", reason="the oracle is not installed")
    from datatrove.utils.dataset import DatatroveFolderDataset

    source = made(tmp_path / "切片", vocab_size=vocab_size)
    out = export(source, tmp_path / "出口", "datatrove").path

    dataset = DatatroveFolderDataset(
        str(out / "train"), seq_len=2, token_size=token_bytes, return_positions=True
    )
    rows = [dataset[number] for number in range(len(dataset))]
    # Three ids each, to the end of each file; a position counts within the document.
    assert [(row["input_ids"].tolist(), row["positions"].tolist()) for row in rows] == [
        ([5, 6, 0], [0, 1, 2]),
        ([7, 0, 0], [0, 1, 0]),
        ([8, 999, 9], [0, 1, 2]),
        ([9, 0, 300], [0, 1, 0]),
    ]


def test_a_large_file_is_copied_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "BLOCK_BYTES", 5)
    source = made(tmp_path / "shards")
    told = Told()

    out = export(source, tmp_path / "out", "nanogpt", told).path

    assert np.memmap(out / "train.bin", np.uint16, "r").tolist() == TRAIN_IDS
    assert told.total == told.advanced == 36


def test_done_is_done_until_something_changes(shards, tmp_path):
    first = export(shards, tmp_path / "out", "nanogpt")
    told = Told()
    again = export(shards, tmp_path / "out", "nanogpt", told)

    assert (again.ran, again.manifest, told.notes) == ([], first.manifest, [])
    assert export(shards, tmp_path / "out", "datatrove").ran == ["export"]
    assert names_in(tmp_path / "out")[0] == "manifest.json"
    assert not (tmp_path / "out/train.bin").exists()
    other = made(tmp_path / "other", vocab_size=2000)
    assert export(other, tmp_path / "out", "datatrove").ran == ["export"]


def test_refuses_ids_that_nanogpt_cannot_read(tmp_path):
    source = made(tmp_path / "shards", vocab_size=65_537)

    with pytest.raises(
        DataError, match=r"tokenizer.json: a vocabulary of 65,537 entries, .* for at most 65,536;"
    ):
        export(source, tmp_path / "out", "nanogpt")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format_name", stage.FORMATS)
def test_refuses_chosen_and_rejected_answers(format_name, shards):
    source = TokenShards.open(shards)
    source.manifest.counts["content"] = "preference"

    with pytest.raises(DataError, match="of chosen and rejected answers, which no file of nanogpt"):
        stage.require_fit(format_name, source)


def test_refuses_unknown_words(shards, tmp_path):
    with pytest.raises(UsageError, match="unknown format 'arrow'; expected one of nanogpt, data"):
        export(shards, tmp_path / "out", "arrow")


def test_refuses_places_that_hold_something(shards, tmp_path):
    foreign = tmp_path / "论文"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("", encoding="utf-8")

    with pytest.raises(OutputError, match="论文: exists and is no artifact, and would be overwrit"):
        export(shards, foreign, "nanogpt")
    assert names_in(foreign) == ["thesis.tex"]
    for inside in (shards, shards / "out", tmp_path):
        with pytest.raises(OutputError, match=r"overlaps the shards .*切片; name another folder"):
            export(shards, inside, "nanogpt")
    other = made(tmp_path / "other")
    with pytest.raises(OutputError, match="is a shards, no export; name another folder"):
        export(shards, other, "datatrove")


def test_refuses_damaged_shards(shards, tmp_path):
    path = shards / "train-00001.bin"
    path.write_bytes(bytes(reversed(path.read_bytes())))

    with pytest.raises(DataError, match=r"train-00001.bin: damaged"):
        export(shards, tmp_path / "out", "nanogpt")
    path.unlink()
    with pytest.raises(MissingInputError, match=r"train-00001.bin: missing"):
        export(shards, tmp_path / "out", "nanogpt")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(lambda path: path.write_bytes(b"\1"), 1, id="too short"),
        pytest.param(lambda path: path.unlink(), 0, id="missing beside others"),
    ],
)
def test_refuses_a_mask_that_does_not_fit(change, found, tmp_path):
    source = made(tmp_path / "shards", masks=MASKS)
    change(source / "train-00001.mask")
    counts = TokenShards.open(source).manifest.counts
    (source / "manifest.json").unlink()
    write_manifest(source, Identity("shards", {}), counts)

    with pytest.raises(
        DataError,
        match=rf"train-00001.mask: expected a byte for each of the 7 tokens of train-00001.bin, "
        rf"found {found};",
    ):
        export(source, tmp_path / "out", "datatrove")


def test_refuses_a_disk_too_small(shards, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(35))

    with pytest.raises(StorageError, match="0 kB are needed and 0 kB are free; free some space"):
        export(shards, tmp_path / "out", "nanogpt")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(36))
    export(shards, tmp_path / "out", "nanogpt")


@pytest.mark.parametrize("format_name", ["nanogpt", "datatrove"])
def test_killed_at_any_moment_it_is_the_former_or_the_new(
    format_name, shards, tmp_path, killed_after
):
    expected = data_of(export(shards, tmp_path / "undisturbed", format_name).path)
    other = made(tmp_path / "other", vocab_size=2000)
    former = data_of(export(other, tmp_path / "former", "datatrove").path)

    for number in count(1):
        out = tmp_path / f"out{number}"
        shutil.copytree(tmp_path / "former", out)
        was_killed = killed_after(number, lambda out=out: export(shards, out, format_name))
        if out.exists():
            assert data_of(out) in (former, expected)
        else:
            assert (tmp_path / f".old-out{number}").exists()
        if not was_killed:
            break
        export(shards, out, format_name)
        assert data_of(out) == expected
        assert not [path for path in tmp_path.iterdir() if path.name.startswith((".work", ".old"))]
    assert number > 15


def test_stopped_it_leaves_nothing_and_begins_anew(shards, tmp_path, monkeypatch):
    class Impatient(Progress):
        def advance(self, _amount=1, **_figures):
            self.stop.signal_number = signal.SIGTERM

    monkeypatch.setattr(stage, "BLOCK_BYTES", 5)
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        export(shards, tmp_path / "out", "nanogpt", Impatient())
    assert not (tmp_path / "out").exists()

    assert names_in(export(shards, tmp_path / "out", "nanogpt").path)[-1] == "val.bin"


def test_shards_are_found_by_folder_and_by_name(shards, tmp_path, monkeypatch):
    (tmp_path / "runs/故事").mkdir(parents=True)
    of_run = shutil.copytree(shards, tmp_path / "runs/故事/shards")

    assert stage.find_shards(str(shards), tmp_path / "runs") == shards
    monkeypatch.chdir(tmp_path)
    assert stage.find_shards("runs/故事", Path("none")) == Path("runs/故事/shards")
    assert stage.find_shards("故事", tmp_path / "runs") == of_run
    with pytest.raises(
        MissingInputError, match=r"none: no finished shards here; looked for manifest.json in none"
    ):
        stage.find_shards("none", tmp_path / "runs")


def test_the_command_line(tiny, llmctl):
    made_once = llmctl("export", "tiny", "-o", "出口", "--format", "nanogpt", "--json")
    again = llmctl("export", "runs/tiny/shards", "-o", "出口", "--format", "nanogpt")
    verified = llmctl("verify", "出口")

    assert made_once.exit_code == 0, made_once.stderr
    told = json.loads(made_once.stdout)
    assert (told["path"], told["ran"]) == ("出口", ["export"])
    assert (told["counts"]["format"], told["counts"]["vocab_size"]) == ("nanogpt", 300)
    assert "makes a model of 50,304 entries" in made_once.stderr
    assert (again.exit_code, again.stdout) == (0, "出口\n")
    assert "export: up to date, nothing to do (出口)" in again.stderr
    assert verified.exit_code == 0
    train = TokenShards.open(tiny / "runs/tiny/shards").split("train")
    written = np.memmap(tiny / "出口/train.bin", np.uint16, "r")
    assert written.tolist() == train.tokens[:].tolist()


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("runs/tiny/shards",), 2, "holds shards; say for which program with --format, one of na"),
        (("tiny", "--format", "arrow"), 2, "unknown format 'arrow'; expected one of nanogpt, da"),
        (("tiny", "--format", "nanogpt", "--dtype", "float32"), 2, "are of models, --format is"),
        (("tiny", "--format", "nanogpt", "--max-shard-size", "1GB"), 2, "are of models, --format"),
        (
            ("runs/tiny/model", "--format", "nanogpt"),
            65,
            "runs/tiny/model: expected shards, found model; a model is exported without --format",
        ),
        (("nothing", "--format", "nanogpt"), 66, "nothing: no finished shards here; looked for"),
        (("tiny", "--format", "nanogpt", "-o", "docs.jsonl"), 73, "exists and is no artifact"),
        (("tiny", "--format", "nanogpt", "-o", "runs/tiny/corpus"), 73, "is a corpus, no export"),
    ],
)
def test_refuses_with_an_exit_code(arguments, exit_code, message, tiny, llmctl):
    ended = llmctl("export", "-o", "out", *arguments)

    assert ended.exit_code == exit_code, ended.stderr
    assert message in ended.stderr
    assert ended.stdout == ""
    assert not (tiny / "out").exists()
