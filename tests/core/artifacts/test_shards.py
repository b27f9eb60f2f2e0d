"""Shards: what is written is what is read, over file borders too; damage is named."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import write_document
from pyarrow import parquet

from llmctl.core.artifacts.shards import (
    DocumentPlaces,
    SplitWriter,
    TokenShards,
    TokenView,
    dtype_for,
)
from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.manifest import Identity, write_manifest

DOCUMENTS = [[5, 6, 0], [7, 0], [0], [8, 9, 9, 9, 0]]
OFFSETS = [0, 3, 5, 6]


MASKS = [[0, 1, 1], [1, 0], [0], [0, 0, 1, 1, 0]]


def written(folder, documents=DOCUMENTS, *, vocab_size=10, shard_tokens=4, masks=None, **counts):
    """A directory of shards with a manifest; a train split alone."""
    with SplitWriter(folder, "train", vocab_size, shard_tokens) as writer:
        offsets = [
            write_document(writer, ids, mask)
            for ids, mask in zip(documents, masks or [None] * len(documents), strict=True)
        ]
    counted = {
        "content": "text",
        "dtype": dtype_for(vocab_size).name,
        "vocab_size": vocab_size,
        "train_tokens": writer.num_tokens,
        "validation_tokens": 0,
        **counts,
    }
    write_manifest(folder, Identity("shards", {}), counted)
    assert offsets == np.cumsum([0, *map(len, documents)])[:-1].tolist()
    return folder


def test_files_are_what_the_format_says(tmp_path):
    written(tmp_path)

    assert sorted(path.name for path in tmp_path.glob("train-*")) == [
        "train-00000.bin",
        "train-00000.ends",
        "train-00001.bin",
        "train-00001.ends",
    ]
    assert (tmp_path / "train-00000.bin").read_bytes() == bytes([5, 0, 6, 0, 0, 0, 7, 0, 0, 0])
    assert np.fromfile(tmp_path / "train-00000.ends", "<u8").tolist() == [3, 5]
    assert np.memmap(tmp_path / "train-00001.bin", "<u2", "r").tolist() == [0, 8, 9, 9, 9, 0]
    assert np.fromfile(tmp_path / "train-00001.ends", "<u8").tolist() == [1, 6]


def test_split_over_several_files_reads_as_one(tmp_path):
    split = TokenShards.open(written(tmp_path)).split("train")

    assert split.num_tokens == len(split.tokens) == 11
    assert split.num_documents == 4
    assert split.ends.tolist() == [3, 5, 6, 11]
    assert split.ends.dtype == np.uint64
    assert [split.document(index).tolist() for index in range(4)] == DOCUMENTS
    assert split.tokens[4:7].tolist() == [0, 0, 8]
    assert isinstance(split.tokens[0:2], np.ndarray)


@pytest.mark.parametrize(
    ("vocab_size", "dtype"),
    [
        pytest.param(65_536, "uint16", id="the last that fits"),
        pytest.param(65_537, "uint32", id="one more"),
    ],
)
def test_ids_are_as_wide_as_the_vocabulary_needs(tmp_path, vocab_size, dtype):
    last = vocab_size - 1
    split = TokenShards.open(written(tmp_path, [[last, 0]], vocab_size=vocab_size)).split("train")

    assert split.tokens[:].dtype == dtype
    assert split.tokens[:].tolist() == [last, 0]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_slice_is_that_of_all_ids(tmp_path_factory, data):
    lengths = data.draw(st.lists(st.integers(1, 4), max_size=5))
    files = [np.arange(length, dtype=np.uint16) + 10 * n for n, length in enumerate(lengths)]
    everything = np.concatenate([np.empty(0, np.uint16), *files])
    bound = st.none() | st.integers(-25, 25)
    part = slice(data.draw(bound), data.draw(bound))
    folder = tmp_path_factory.getbasetemp()

    found = TokenView([(folder, ids) for ids in files], vocab_size=1000)[part]

    assert found.tolist() == everything[part].tolist()
    assert found.dtype == everything.dtype


@pytest.mark.parametrize("content", ["conversation", "preference"])
def test_masks_lie_beside_the_tokens(tmp_path, content):
    written(tmp_path, masks=MASKS, content=content)

    assert (tmp_path / "train-00000.mask").read_bytes() == bytes([0, 1, 1, 1, 0])
    assert (tmp_path / "train-00001.mask").read_bytes() == bytes([0, 0, 0, 1, 1, 0])
    shards = TokenShards.open(tmp_path)
    split = shards.split("train")
    assert shards.content == content
    assert split.masks[:].tolist() == [flag for mask in MASKS for flag in mask]
    assert split.masks[3:8].tolist() == [1, 0, 0, 0, 0]
    assert split.masks[2:2].dtype == np.uint8
    assert len(shards.split("validation").masks) == 0


@pytest.mark.parametrize("shard_tokens", [1, 2, 4, 6, 11, 100])
@pytest.mark.parametrize("masks", [None, MASKS])
def test_many_at_once_are_one_after_the_other(tmp_path, shard_tokens, masks):
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    written(tmp_path / "one", shard_tokens=shard_tokens, masks=masks)

    with SplitWriter(tmp_path / "many", "train", 10, shard_tokens) as writer:
        for part in (slice(0, 0), slice(0, 3), slice(3, 4)):
            ids = np.array([token for ids in DOCUMENTS[part] for token in ids], dtype=np.uint16)
            mask = [flag for flags in MASKS[part] for flag in flags]
            lengths = np.array([len(ids) for ids in DOCUMENTS[part]], dtype=np.int64)
            writer.write(ids, lengths, np.array(mask, np.uint8) if masks else None)

    files = sorted((tmp_path / "one").glob("train-*"))
    assert [path.name for path in files] == sorted(
        path.name for path in (tmp_path / "many").iterdir()
    )
    for path in files:
        assert path.read_bytes() == (tmp_path / "many" / path.name).read_bytes()
    assert (writer.num_documents, writer.num_tokens) == (4, 11)


def test_texts_have_no_masks(tmp_path):
    assert TokenShards.open(written(tmp_path)).split("train").masks is None
    assert not list(tmp_path.glob("*.mask"))


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        pytest.param([[1, 1, 1], None], "a mask of every document or of none", id="then none"),
        pytest.param([None, [1, 1]], "a mask of every document or of none", id="then one"),
        pytest.param([[1, 1], None], "2 values up to 1, expected 3 of 0 and 1", id="short"),
        pytest.param([[1, 2, 0], None], "3 values up to 2, expected 3 of 0 and 1", id="a 2"),
    ],
)
def test_refuses_to_write_a_mask_that_does_not_fit(tmp_path, masks, message):
    with pytest.raises(ValueError, match=message):
        written(tmp_path, DOCUMENTS[:2], masks=masks, shard_tokens=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(bytes(5), "5 bytes, expected 6", id="shorter than the manifest tells"),
        pytest.param(None, "cannot be read", id="missing"),
        pytest.param(bytes([0, 0, 0, 7, 1, 0]), "7 stands among tokens 0 to 5, .* 1", id="a 7"),
    ],
)
def test_names_the_damaged_mask(tmp_path, content, message):
    written(tmp_path, masks=MASKS, content="conversation")
    path = tmp_path / "train-00001.mask"
    path.unlink() if content is None else path.write_bytes(content)

    with pytest.raises((DataError, MissingInputError), match=rf"train-00001\.mask: .*{message}"):
        TokenShards.open(tmp_path).split("train").masks[5:10]


def test_mask_must_be_as_long_as_the_tokens(tmp_path):
    with SplitWriter(tmp_path, "train", 10, 4) as writer:
        write_document(writer, [1, 2], [1, 1])
    (tmp_path / "train-00000.mask").write_bytes(bytes(7))
    counts = {"content": "conversation", "dtype": "uint16", "vocab_size": 10, "train_tokens": 2}
    write_manifest(tmp_path, Identity("shards", {}), counts)

    with pytest.raises(DataError, match=r"\.mask: damaged: 7 bytes, expected one for each of 2"):
        TokenShards.open(tmp_path).split("train")


def test_conversations_without_masks_are_damaged(tmp_path):
    with pytest.raises(MissingInputError, match=r"train-00000\.mask: cannot be read"):
        TokenShards.open(written(tmp_path, content="conversation")).split("train")


def test_refuses_content_that_a_purpose_has_no_use_for(tmp_path):
    shards = TokenShards.open(written(tmp_path, masks=MASKS, content="preference"))

    shards.require_content("to compare by", "preference")
    with pytest.raises(
        DataError, match="'preference'; to train on, they must be of text or conversation"
    ):
        shards.require_content("to train on", "text", "conversation")


def test_split_without_documents_is_empty(tmp_path):
    split = TokenShards.open(written(tmp_path)).split("validation")

    assert (split.num_tokens, split.num_documents) == (0, 0)
    assert split.tokens[0:5].tolist() == []


def test_table_of_documents(tmp_path):
    columns = (
        pa.array(names) for names in (["甲", "b"], ["书.jsonl", "x"], ["train", "validation"])
    )
    places = DocumentPlaces(*columns, np.array([0, 2**33]))
    places.write(tmp_path)
    content = (tmp_path / "documents.parquet").read_bytes()

    assert parquet.read_table(tmp_path / "documents.parquet").to_pylist() == [
        {"id": "甲", "source": "书.jsonl", "split": "train", "offset": 0},
        {"id": "b", "source": "x", "split": "validation", "offset": 2**33},
    ]
    places.write(tmp_path)
    assert (tmp_path / "documents.parquet").read_bytes() == content


def test_refuses_to_write_an_id_outside_the_vocabulary(tmp_path):
    with pytest.raises(ValueError, match="the id 10, expected 0 to 9"):
        written(tmp_path, [[3, 10]])


def test_refuses_to_write_a_document_without_tokens(tmp_path):
    with pytest.raises(ValueError, match="each has at least the one that ends it"):
        written(tmp_path, [[]])


def test_refuses_a_slice_with_a_step(tmp_path):
    split = TokenShards.open(written(tmp_path)).split("train")

    with pytest.raises(ValueError, match="without a step, got step 2"):
        split.tokens[::2]


def test_refuses_a_directory_without_shards(tmp_path):
    with pytest.raises(MissingInputError, match="no finished shards here"):
        TokenShards.open(tmp_path)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        pytest.param({"content": "images"}, "text, conversation, preference, found 'images'"),
        pytest.param({"content": None}, "expected shards of text, .*, found None"),
        pytest.param({"dtype": "uint32"}, "ids of type uint32, expected uint16"),
    ],
)
def test_refuses_a_manifest_of_something_else(tmp_path, counts, message):
    with pytest.raises(DataError, match=message):
        TokenShards.open(written(tmp_path, **counts))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        pytest.param("train-00001.bin", lambda c: c[:-2], "10 bytes, expected 12", id="cut off"),
        pytest.param("train-00001.bin", lambda c: c[:-1], "11 bytes, expected 12", id="odd size"),
        pytest.param("train-00001.bin", lambda c: b"", "0 bytes, expected 12", id="empty"),
        pytest.param("train-00001.ends", lambda c: c + c, "32 bytes, expected 16", id="too long"),
        pytest.param(
            "train-00001.ends",
            lambda c: np.array([1, 5], "<u8").tobytes(),
            "its ends do not rise to the 6 tokens of train-00001.bin",
            id="ends before the tokens do",
        ),
        pytest.param(
            "train-00001.ends",
            lambda c: np.array([6, 6], "<u8").tobytes(),
            "its ends do not rise",
            id="two documents with one end",
        ),
    ],
)
def test_names_the_damaged_file(tmp_path, name, change, message):
    written(tmp_path)
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))

    with pytest.raises(DataError, match=f"{name}: damaged: {message}") as refusal:
        TokenShards.open(tmp_path).split("train")
    assert refusal.value.exit_code == 65


def test_names_a_file_of_half_an_id(tmp_path):
    (tmp_path / "train-00007.bin").write_bytes(b"\x01")
    written(tmp_path)

    with pytest.raises(DataError, match=r"train-00007\.bin: damaged: 1 bytes, .* multiple of 2"):
        TokenShards.open(tmp_path).split("train")


def test_names_the_missing_file(tmp_path):
    written(tmp_path)
    (tmp_path / "train-00000.ends").unlink()

    with pytest.raises(MissingInputError, match=r"train-00000\.ends: cannot be read"):
        TokenShards.open(tmp_path).split("train")


def test_ends_that_the_manifest_does_not_name_are_not_trusted(tmp_path):
    (tmp_path / "train-00007.bin").write_bytes(b"\x01\x00")
    written(tmp_path)
    (tmp_path / "train-00007.ends").write_bytes(np.array([1], "<u8").tobytes())

    with pytest.raises(DataError, match=r"train-00007\.ends: damaged: 8 bytes, expected it in"):
        TokenShards.open(tmp_path).split("train")


def test_tokens_must_be_as_many_as_counted(tmp_path):
    with pytest.raises(DataError, match="11 tokens in the train split, expected 12"):
        TokenShards.open(written(tmp_path, train_tokens=12)).split("train")


def test_id_outside_the_vocabulary_is_found_when_read(tmp_path):
    split = TokenShards.open(written(tmp_path, vocab_size=9 + 1)).split("train")
    smaller = TokenView(split.tokens._files, vocab_size=9)

    assert smaller[0:7].tolist() == [5, 6, 0, 7, 0, 0, 8]
    with pytest.raises(
        DataError,
        match=r"train-00001\.bin: damaged: 9 stands among tokens 0 to 3, expected at most 8",
    ):
        smaller[4:8]
