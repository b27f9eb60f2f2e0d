"""`llmctl clean` as a command: damaged files, and sound ones beside them."""

from __future__ import annotations

import gzip
import json
import random

import pytest
from refusals import refused

from llmctl.core.artifacts.corpus import read_corpus

BAD_DATA, MISSING = 65, 66
SOUND = "The river carries stones past the bridge in the valley, number {}."


def lines(num_documents, seed=1, words=12):
    """JSON Lines of documents that are no duplicates of each other."""
    draw = random.Random(seed)
    alphabet = [f"{a}{b}{c}" for a in "bdkmst" for b in "aeiou" for c in "lnrx"]
    for number in range(num_documents):
        text = " ".join(draw.choices(alphabet, k=words))
        yield json.dumps({"text": f"第{number}篇 {text}."}, ensure_ascii=False).encode() + b"\n"


# ------------------------------------------------------------------ hostile files


@pytest.mark.parametrize(
    ("name", "content", "exit_code", "phrases"),
    [
        pytest.param(
            "a.jsonl.gz",
            gzip.compress(b"".join(lines(30)), mtime=0)[:300],
            BAD_DATA,
            ["cannot be read", "the .gz data is cut off"],
            id="a gzip that is cut off",
        ),
        pytest.param("a.txt", b"\x00\x01\xfe\xff" * 900, BAD_DATA, ["binary data"], id="binary"),
        pytest.param("a.parquet", b"PAR1" * 40, BAD_DATA, ["a.parquet"], id="damaged parquet"),
        pytest.param("a.jsonl", b"\n" * 100_000, BAD_DATA, ["the input is empty"], id="blanks"),
        pytest.param(
            "a.txt", b" " * 1_000_000, BAD_DATA, ["no document is left"], id="a million blanks"
        ),
        pytest.param("a.csv", b"id,body\n1,x\n", BAD_DATA, ["no column 'text'"], id="no column"),
        pytest.param("a.pdf", b"%PDF", 78, ["a.pdf", "unknown kind"], id="an unknown kind"),
    ],
)
def test_hostile_files_end_plainly(server, tmp_path, name, content, exit_code, phrases):
    (tmp_path / name).write_bytes(content)

    ended = server.run("clean", name, "-o", "out", cwd=tmp_path)

    assert refused(ended, exit_code, *phrases) or exit_code
    assert not (tmp_path / "out").exists()
    assert ended.orphans == 0


def test_an_empty_directory_is_missing_input(server, tmp_path):
    (tmp_path / "空").mkdir()

    ended = server.run("clean", "空", "-o", "out", cwd=tmp_path)

    assert refused(ended, MISSING, "it is empty")


def test_everything_readable_beside_damage_is_kept(server, tmp_path):
    folder = tmp_path / "数据"
    folder.mkdir()
    whole = b"".join(lines(150))
    (folder / "good.jsonl").write_bytes(whole)
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(b"".join(lines(50, seed=2)), mtime=0)[:-9])
    (folder / "zeros.txt").write_bytes((SOUND.format("\x001\x00") + " A." * 200).encode())
    (folder / "中文.txt").write_bytes("春天来了，河边的柳树发了芽。".encode("gb18030"))
    surrogates = json.dumps({"text": "half \ud800 a pair, and a whole \ud83d\ude00 one, so it is."})
    (folder / "half.jsonl").write_text(surrogates, encoding="utf-8")

    ended = server.run(
        "clean", "数据", "-o", "out", "--set", "clean.max_unreadable=0.1", cwd=tmp_path
    )

    assert ended.exit_code == 0, ended.stderr
    assert "1 of 204 documents (0.49%) cannot be read" in ended.stderr
    texts = {item.id: item.text for item in read_corpus(tmp_path / "out")}
    assert len(texts) == 203
    assert texts["数据/zeros.txt"] == SOUND.format(1) + " A." * 200
    assert texts["数据/中文.txt"] == "春天来了，河边的柳树发了芽。"
    assert texts["数据/half.jsonl:1"] == "half \ufffd a pair, and a whole 😀 one, so it is."


@pytest.mark.parametrize("words", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_shard_is_i_of_n(llmctl, fresh, words):
    result = llmctl("clean", "docs.jsonl", "-o", "out", "--shard", words)

    assert result.exit_code == 2
    assert f"--shard {words}: expected I/N" in result.stderr
