"""Shards → the files that another program trains on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast, get_args

from llmctl.core import atomic
from llmctl.core.artifacts import datatrove_files, nanogpt_files
from llmctl.core.artifacts.shards import KIND as SHARDS_KIND
from llmctl.core.artifacts.shards import SPLITS, TOKENIZER_NAME, SplitName, TokenShards, dtype_for
from llmctl.core.errors import DataError, MissingInputError, UsageError
from llmctl.core.manifest import MANIFEST_NAME, Manifest, read_manifest
from llmctl.core.progress import Progress
from llmctl.core.recipe import user_path
from llmctl.core.workspace import Workspace

FormatName = Literal["nanogpt", "datatrove"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)
KIND = "export"
BEHAVIOUR = 1
# Read and written at a time: what an early end may have to wait for, and all that is in memory.
BLOCK_BYTES = 4_000_000
_SHARD_FILE = re.compile(r"(train|validation)-(\d+)(\.bin|\.ends|\.mask)", re.A)
_TARGETS = {"nanogpt": nanogpt_files.target, "datatrove": datatrove_files.target}


def format_from_word(word: str) -> FormatName:
    """Return the format that a command line names.

    Raises:
        UsageError: There is none of this name.
    """
    if word not in FORMATS:
        raise UsageError(f"unknown format {word!r}; expected one of {', '.join(FORMATS)}")
    return word


def find_shards(reference: str, runs: Path) -> Path:
    """Return the directory of finished shards.

    Args:
        reference: A directory, that of a run, or a run's name, tried in this order.
        runs: The runs' directory.

    Raises:
        MissingInputError: There are none; the message says where they were looked for.
        DataError: There is an artifact of another kind, or a damaged one.
    """
    path = user_path(reference)
    candidates = (path, path / "shards", runs / reference / "shards")
    for candidate in candidates:
        manifest = read_manifest(candidate)
        if manifest is None:
            continue
        if manifest.kind != SHARDS_KIND:
            raise DataError(
                f"{candidate}: expected {SHARDS_KIND}, found {manifest.kind}; a model is exported "
                "without --format"
            )
        return candidate
    looked = ", ".join(map(str, candidates))
    raise MissingInputError(
        f"{reference}: no finished shards here; looked for {MANIFEST_NAME} in {looked}; a model "
        "is exported without --format"
    )


def refuse_shards(reference: str) -> None:
    """Make sure that what is to be exported as a model is not a directory of shards.

    Raises:
        UsageError: It is.
        DataError: Its manifest is damaged.
    """
    manifest = read_manifest(user_path(reference))
    if manifest is not None and manifest.kind == SHARDS_KIND:
        raise UsageError(
            f"{reference}: holds shards; say for which program with --format, one of "
            f"{', '.join(FORMATS)}"
        )


def require_fit(format_name: FormatName, shards: TokenShards) -> None:
    """Refuse shards that the format has no room for.

    Raises:
        DataError: Ids are too large, or answers are chosen and rejected.
    """
    if shards.manifest.counts["content"] == "preference":
        raise DataError(
            f"{shards.directory}: shards of chosen and rejected answers, which no file of "
            f"{' or '.join(FORMATS)} tells apart; export shards of texts or conversations"
        )
    if format_name == "nanogpt" and shards.vocab_size > nanogpt_files.MAX_VOCAB_SIZE:
        raise DataError(
            f"{shards.tokenizer_path}: a vocabulary of {shards.vocab_size:,} entries, and "
            f"nanoGPT reads ids of 16 bits, for at most {nanogpt_files.MAX_VOCAB_SIZE:,}; "
            "tokenize with a smaller tokenize.vocab_size, or export with --format datatrove"
        )


def export_shards(
    format_name: FormatName, shards: TokenShards, workspace: Workspace, *, progress: Progress
) -> Manifest:
    """Write the tokens of shards as another program reads them.

    Both formats hold the ids as shards do, so that their bytes are copied and never parsed.

    Args:
        format_name: For which program; it has room for the ids, see `require_fit`.
        shards: What; its files were compared with its manifest.
        workspace: Where.
        progress: Told of every block of bytes.

    Raises:
        DataError: A mask does not fit its tokens.
        OutputError: The files cannot be created.
        StorageError: The disk is full or failing.
        Interrupted, OutOfTime: `progress` asked for the end; the next start begins anew.
    """
    files = _shard_files(shards)
    copied: dict[str, list[str]] = {}
    for name, (split, number, suffix) in files.items():
        target = _TARGETS[format_name](split, number, suffix)
        if target is not None:
            copied.setdefault(target, []).append(name)
    with atomic.storage_errors(workspace.target):
        _copy(copied, shards, workspace, progress)
        if format_name == "datatrove":
            _write_metadata(files, shards, workspace.result)
        else:
            _tell_what_nanogpt_lacks(files, shards, progress)
        shutil.copyfile(shards.tokenizer_path, workspace.result / TOKENIZER_NAME)
        atomic.observer("write", workspace.result / TOKENIZER_NAME)
        counts = shards.manifest.counts
        return workspace.publish(
            {"format": format_name}
            | {name: counts[name] for name in ("content", "dtype", "vocab_size")}
            | {
                name: counts[name]
                for split in SPLITS
                for name in (f"{split}_documents", f"{split}_tokens")
                if name in counts
            }
        )


def _shard_files(shards: TokenShards) -> dict[str, tuple[SplitName, int, str]]:
    """The files of ids, ends and masks, in order: split, number and suffix of each."""
    matches = map(_SHARD_FILE.fullmatch, sorted(shards.manifest.files))
    files: dict[str, tuple[SplitName, int, str]] = {
        match[0]: (cast("SplitName", match[1]), int(match[2]), match[3])
        for match in matches
        if match
    }
    sizes = {name: shards.manifest.files[name].size for name in files}
    token_bytes = dtype_for(shards.vocab_size).itemsize
    masks = {name for name, (_, _, suffix) in files.items() if suffix == ".mask"}
    for name in files:
        mask = f"{Path(name).stem}.mask"
        num_tokens = sizes[name] // token_bytes
        if masks and name.endswith(".bin") and sizes.get(mask) != num_tokens:
            raise DataError(
                f"{shards.directory / mask}: expected a byte for each of the {num_tokens:,} tokens "
                f"of {name}, found {sizes.get(mask, 0):,}; make the shards again"
            )
    return files


def _copy(
    copied: Mapping[str, Sequence[str]],
    shards: TokenShards,
    workspace: Workspace,
    progress: Progress,
) -> None:
    sizes = {name: shards.manifest.files[name].size for names in copied.values() for name in names}
    atomic.require_space(workspace.path, sum(sizes.values()))
    progress.begin("export", sum(sizes.values()), "bytes")
    block = memoryview(bytearray(BLOCK_BYTES))
    for target, names in copied.items():
        path = workspace.result / target
        path.parent.mkdir(exist_ok=True)
        with path.open("wb", buffering=0) as written:
            for name in names:
                with (shards.directory / name).open("rb", buffering=0) as read:
                    while num_bytes := read.readinto(block):
                        progress.check()
                        written.write(block[:num_bytes])
                        progress.advance(num_bytes)
        atomic.observer("write", path)
    progress.end()


def _write_metadata(
    files: Mapping[str, tuple[SplitName, int, str]], shards: TokenShards, directory: Path
) -> None:
    token_bytes = dtype_for(shards.vocab_size).itemsize
    for name, (split, number, suffix) in files.items():
        if suffix != ".bin":
            continue
        num_tokens = shards.manifest.files[name].size // token_bytes
        path = directory / datatrove_files.target(split, number, suffix)
        path = path.with_name(path.name + datatrove_files.METADATA_SUFFIX)
        path.write_bytes(datatrove_files.metadata(num_tokens, token_bytes))
        atomic.observer("write", path)


def _tell_what_nanogpt_lacks(
    files: Mapping[str, tuple[SplitName, int, str]], shards: TokenShards, progress: Progress
) -> None:
    if any(suffix == ".mask" for _, _, suffix in files.values()):
        progress.warn("nanoGPT reads no mask: it learns every token, prompts too")
    default = nanogpt_files.DEFAULT_VOCAB_SIZE
    if shards.vocab_size <= default:
        progress.note(
            f"nanoGPT's train.py makes a model of {default:,} entries unless a meta.pkl, which "
            f"llmctl does not write, tells another number; this vocabulary has "
            f"{shards.vocab_size:,}"
        )
    else:
        progress.warn(
            f"nanoGPT's train.py makes a model of {default:,} entries, and this vocabulary has "
            f"{shards.vocab_size:,}: put a number as large in the place of {default} there"
        )
