"""`llmctl clean` given what nobody should give it: told plainly, all that is readable kept."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import signal
import threading
import time

import pyarrow as pa
import pytest
import zstandard
from preloaded_server import Trap
from pyarrow import parquet
from refusals import BAD_DATA, NO_INPUT, refused

from llmctl.core.artifacts.corpus import read_corpus

SOUND = "The river carries {} stones past bridge {}, and nobody counts them but a child."


def sound(number):
    """A text that no rule drops, no two of them alike."""
    draw = random.Random(number)
    words = [draw.randbytes(3).hex().translate(str.maketrans("0123456789", "ghiklmnopr"))]
    words += [draw.choice(SOUND.split()) + draw.choice("aeiou") for _ in range(14)]
    return f"{' '.join(words)} and so it is."


def jsonl(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def sound_lines(num_documents):
    return jsonl(*({"text": sound(number)} for number in range(num_documents)))


def leftovers(folder):
    """What stays hidden in a folder beside what always does: locks and caches of digests."""
    hidden = (path.name for path in folder.iterdir() if path.name.startswith("."))
    return [name for name in hidden if not name.endswith((".lock", ".digests.json"))]


def counts(folder):
    return json.loads((folder / "out/manifest.json").read_bytes())["counts"]


def cut_parquet():
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"text": [sound(number) for number in range(50)]}), buffer)
    return buffer.getvalue()[:-20]


def parquet_without_text():
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"id": ["1"], "body": ["x"]}), buffer)
    return buffer.getvalue()


# ------------------------------------------------------------------ nothing to be had


@pytest.mark.parametrize(
    ("name", "content", "phrases"),
    [
        pytest.param("a.txt", b"", ["the input is empty: no document in a.txt"], id="empty"),
        pytest.param("a.parquet", parquet_without_text(), ["columns: id, body"], id="no column"),
        pytest.param("a.parquet", cut_parquet(), ["a.parquet: not parquet, or dam"], id="parquet"),
        pytest.param("a.txt", b"\0" * 100_000, ["binary data"], id="zeros"),
        pytest.param("a.txt", random.Random(1).randbytes(9999), ["no text"], id="noise"),
        pytest.param("a.jsonl.gz", b'{"text": "x"}\n', [".gz data is damaged"], id="not packed"),
        pytest.param("a.jsonl", b'{"text": 5}', ["'text' is a number"], id="a number"),
        pytest.param("a.csv", b'id,text\n1,"' + b"x\n" * 99, ["not close"], id="quotation mark"),
        pytest.param("a.txt", b"\xff\xfea", ["UTF-16"], id="half a character"),
    ],
)
def test_what_cannot_be_read_is_told_and_leaves_nothing(server, tmp_path, name, content, phrases):
    (tmp_path / name).write_bytes(content)

    ended = server.run("clean", name, "-o", "out", cwd=tmp_path)

    assert refused(ended, BAD_DATA, *phrases)
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "out").exists()


def test_what_is_no_file_is_refused_without_being_opened(server, tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zeros.txt").symlink_to("/dev/zero")
    (tmp_path / "gone.txt").symlink_to("nowhere.txt")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder/pipe.txt")
    (tmp_path / "folder/a.pdf").write_bytes(b"%PDF")

    for name, phrase in {
        "pipe.txt": "a pipe or a device, no file",
        "zeros.txt": "a pipe or a device, no file",
        "gone.txt": "no such file",
        "folder": "no file of a known kind in this directory (1 .pdf)",
    }.items():
        assert refused(server.run("clean", name, "-o", "out", cwd=tmp_path), NO_INPUT, phrase)
    assert leftovers(tmp_path) == []


def test_what_may_not_be_read(server, tmp_path):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/a.txt").write_text(sound(1), encoding="utf-8")
    (tmp_path / "in/a.txt").chmod(0)
    if os.access(tmp_path / "in/a.txt", os.R_OK):
        pytest.skip("this user may read everything")
    # 0o600: what is in a folder can be listed and not looked at.
    for name, mode in (("in/a.txt", 0), ("in/sub", 0), ("in/sub", 0o600), ("in", 0), ("in", 0o600)):
        (tmp_path / name).chmod(mode)
        ended = server.run("clean", "in", "-o", "out", cwd=tmp_path)
        (tmp_path / name).chmod(0o700)
        assert refused(ended, NO_INPUT, "Permission denied")


# ------------------------------------------------------------------ some of it


def test_each_bad_record_costs_itself(server, tmp_path):
    records = [
        b'{"text": 5}',
        b'{"text": null}',
        b'{"text": ""}',
        b'{"text": " \\u2003\\n"}',
        b'{"text": "x", "a": ' + b"[" * 200 + b"]" * 200 + b"}",
        b"[" * 100_000,
        b'"text"',
        b"{}",
        b'{"text": "\xff"}',
        b'{"messages": [{"role": 5}]}',
        b'{"text": "x", "n": 1' + b"0" * 5000 + b"",
    ]
    good = sound_lines(89)
    (tmp_path / "a.jsonl").write_bytes(good + b"\n".join(records) + b"\n")

    ended = server.run(
        "clean", "a.jsonl", "-o", "out", "--set", "clean.max_unreadable=0.2", cwd=tmp_path
    )

    assert ended.exit_code == 0, ended.stderr
    assert "11 of 100 documents (11.00%) cannot be read" in ended.stderr
    assert [item.text for item in read_corpus(tmp_path / "out")] == [sound(n) for n in range(89)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_numbers_that_no_machine_holds(server, tmp_path, name):
    """They are read as they will be read again from the corpus."""
    records = [
        {"text": sound(number), "n": value, "id": 10**25}
        for number, value in enumerate([10**18, 2**64 - 1, -(2**63), 2**64, 10**400, -(10**5000)])
    ]
    written = [
        json.dumps({**record, "n": "N"}).replace('"N"', digits)
        for record, digits in zip(
            records,
            [
                "1" + "0" * 18,
                str(2**64 - 1),
                str(-(2**63)),
                str(2**64),
                "1" * 400,
                "-" + "1" * 5000,
            ],
            strict=True,
        )
    ]
    content = "\n".join(written) if name == "a.jsonl" else f"[{', '.join(written)}]"
    (tmp_path / name).write_text(content, encoding="utf-8")

    ended = server.run("clean", name, "-o", "out", cwd=tmp_path)

    assert ended.exit_code == 0, ended.stderr
    found = list(read_corpus(tmp_path / "out"))
    assert [item.meta["n"] for item in found] == [10**18, 2**64 - 1, -(2**63), 2.0**64, None, None]
    assert {item.meta["id"] for item in found} == {1e25}
    assert [item.id for item in found] == [f"{name}:{number}" for number in range(1, 7)]


def test_a_damaged_row_group_costs_its_rows(server, tmp_path):
    table = pa.table({"text": [sound(number) for number in range(100)]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=20)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    place = parquet.ParquetFile(tmp_path / "a.parquet").metadata.row_group(2).column(0)
    content[place.dictionary_page_offset + 90 : place.dictionary_page_offset + 300] = b"\xaa" * 210
    (tmp_path / "a.parquet").write_bytes(content)

    ended = server.run(
        "clean", "a.parquet", "-o", "out", "--set", "clean.max_unreadable=0.2", cwd=tmp_path
    )

    assert ended.exit_code == 0, ended.stderr
    assert "a.parquet:41: the row group is damaged" in ended.stderr
    kept = [item.text for item in read_corpus(tmp_path / "out")]
    assert kept == [sound(number) for number in (*range(40), *range(60, 100))]


def test_a_table_whose_quotation_mark_does_not_close(server, tmp_path):
    rows = b"".join(f'{number},"{sound(number)}"\n'.encode() for number in range(150))
    (tmp_path / "a.csv").write_bytes(b"id,text\n" + rows + b'x,"it begins\n' + b"a line\n" * 3)

    ended = server.run("clean", "a.csv", "-o", "out", cwd=tmp_path)

    assert ended.exit_code == 0, ended.stderr
    assert len(list(read_corpus(tmp_path / "out"))) == 150
    assert "a.csv:152: not CSV: a quotation mark that does not close; the 3 lines" in ended.stderr


def test_every_encoding_is_read(server, tmp_path):
    (tmp_path / "in").mkdir()
    chinese = "春天来了，河边的柳树发了芽，孩子们在桥上数石头。"
    texts = {
        "utf-16-le.txt": sound(1).encode("utf-16-le"),
        "utf-16-be.txt": sound(2).encode("utf-16-be"),
        "mark.txt": b"\xef\xbb\xbf" + sound(3).encode(),
        "gb18030.jsonl": f'{{"text": "{chinese}"}}\n'.encode("gb18030"),
        "utf-16.jsonl": jsonl({"text": sound(4)}).decode().encode("utf-16"),
        "latin-1.txt": f"Un été à l’opéra, où naïveté et façade gênaient. {sound(5)}".encode(
            "cp1252"
        ),
    }
    for name, content in texts.items():
        (tmp_path / "in" / name).write_bytes(content)

    ended = server.run("clean", "in", "-o", "out", cwd=tmp_path)

    assert ended.exit_code == 0, ended.stderr
    found = {item.source.removeprefix("in/"): item.text for item in read_corpus(tmp_path / "out")}
    assert found == {
        "utf-16-le.txt": sound(1),
        "utf-16-be.txt": sound(2),
        "mark.txt": sound(3),
        "gb18030.jsonl": chinese,
        "utf-16.jsonl": sound(4),
        "latin-1.txt": f"Un été à l’opéra, où naïveté et façade gênaient. {sound(5)}",
    }


def test_ids_that_repeat_and_records_of_two_kinds(server, tmp_path):
    messages = [{"role": "user", "content": "Hello there"}]
    records = [{"id": "x", "text": sound(number), "messages": messages} for number in range(4)]
    (tmp_path / "a.jsonl").write_bytes(jsonl(*records))

    ended = server.run("clean", "a.jsonl", "-o", "out", cwd=tmp_path)

    assert ended.exit_code == 0, ended.stderr
    found = list(read_corpus(tmp_path / "out"))
    assert [(item.id, item.text) for item in found] == [("x", sound(n)) for n in range(4)]
    assert all(item.meta == {"messages": messages} for item in found)
    shown = server.run("inspect", "--document", "x", "out", cwd=tmp_path)
    assert shown.exit_code == 0, shown.stderr


def test_a_web_page_nested_too_deeply_and_a_sound_one(server, tmp_path):
    pytest.importorskip("trafilatura")
    (tmp_path / "in").mkdir()
    body = "".join(f"<p>{sound(number)}</p>" for number in range(9))
    page = f"<html><head><title>河</title></head><body><article>{body}</article></body></html>"
    (tmp_path / "in/a.html").write_text(page, encoding="utf-8")
    (tmp_path / "in/b.html").write_bytes(b"<html><body>" + b"<div>" * 100_000 + b"x")

    ended = server.run(
        "clean", "in", "-o", "out", "--set", "clean.max_unreadable=0.5", cwd=tmp_path
    )

    assert ended.exit_code == 0, ended.stderr
    [document] = read_corpus(tmp_path / "out")
    assert document.meta["title"] == "河"
    assert sound(8) in document.text


def test_thousands_of_small_files(server, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(1100):
        (tmp_path / "in" / f"{number:04d}.txt").write_text(sound(number), encoding="utf-8")

    ended = server.run("clean", "in", "-o", "out", "--workers", "2", cwd=tmp_path)

    assert ended.exit_code == 0, ended.stderr
    assert [item.text for item in read_corpus(tmp_path / "out")] == [sound(n) for n in range(1100)]
    assert leftovers(tmp_path) == []


# ------------------------------------------------------------------ files that do not hold still

_BEGUN = r"\.work-out-\w+/result$"


@pytest.mark.parametrize(
    ("act", "exit_code", "phrase"),
    [
        pytest.param(lambda path: path.unlink(), NO_INPUT, "No such file", id="vanishes"),
        pytest.param(
            lambda path: path.write_bytes(sound_lines(9)),
            BAD_DATA,
            "changed while",
            id="shrinks",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda path: path.write_bytes(sound_lines(51)), BAD_DATA, "changed", id="grows"
        ),
    ],
)
def test_a_file_that_does_not_hold_still(server, tmp_path, act, exit_code, phrase):
    (tmp_path / "a.jsonl").write_bytes(sound_lines(50))
    trap = Trap(operation="remove", path=_BEGUN, pause_seconds=0.4)
    command = server.start("clean", "a.jsonl", "-o", "out", cwd=tmp_path, trap=trap)
    command.until("remove", _BEGUN)
    act(tmp_path / "a.jsonl")

    assert refused(command.wait(), exit_code, "a.jsonl", phrase)

    assert not (tmp_path / "out").exists()
    (tmp_path / "a.jsonl").write_bytes(sound_lines(50))
    again = server.run("clean", "a.jsonl", "-o", "out", cwd=tmp_path)
    assert again.exit_code == 0, again.stderr
    assert [item.text for item in read_corpus(tmp_path / "out")] == [sound(n) for n in range(50)]


# ------------------------------------------------------------------ bombs


def packed(*pieces):
    """A frame for each (bytes, how often): gigabytes in a moment."""
    return b"".join(zstandard.compress(content) * times for content, times in pieces)


def memory_of_nothing(server, folder):
    """The memory of a command that cleans a few documents."""
    (folder / "few.jsonl").write_bytes(sound_lines(5))
    return server.run("clean", "few.jsonl", "-o", "few", cwd=folder).peak_bytes


MB_4 = 1 << 22


@pytest.mark.parametrize(
    ("name", "content", "exit_code", "phrase"),
    [
        pytest.param(
            "a.jsonl.zst",
            packed((sound_lines(200), 1), (b" " * MB_4, 100), (b"\n", 1), (sound_lines(5), 1)),
            0,
            "a.jsonl.zst:201: a line of more than 256 MB",
            id="one line",
        ),
        pytest.param("a.jsonl.zst", packed((b"\n" * MB_4, 1)), BAD_DATA, "empty", id="many lines"),
        pytest.param(
            "a.txt.zst", packed((b"x" * MB_4, 500)), BAD_DATA, "more than 256 MB", id="one text"
        ),
    ],
)
def test_a_bomb_costs_little_memory(server, tmp_path, name, content, exit_code, phrase):
    usual = memory_of_nothing(server, tmp_path)
    assert len(content) < 200_000
    (tmp_path / name).write_bytes(content)

    ended = server.run("clean", name, "-o", "out", cwd=tmp_path)

    assert ended.exit_code == exit_code, ended.stderr
    assert phrase in ended.stderr
    assert ended.peak_bytes < usual + 400_000_000  # a line may be 256 MB


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.txt.zst", "a.csv.zst", "a.json.zst"])
def test_gigabytes_in_one_line_cost_little_memory(server, tmp_path, name):
    usual = memory_of_nothing(server, tmp_path)
    begin = {"a.csv.zst": b'id,text\n1,"', "a.json.zst": b'[{"text": "'}.get(name, b"")
    (tmp_path / name).write_bytes(packed((begin, 1), (b"a" * MB_4, 2500)))

    ended = server.run("clean", name, "-o", "out", cwd=tmp_path)

    assert ended.exit_code == BAD_DATA, ended.stderr
    assert "more than 256 MB" in ended.stderr
    assert ended.peak_bytes < usual + 900_000_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_gigabytes_in_many_lines_cost_little_memory(server, tmp_path):
    usual = memory_of_nothing(server, tmp_path)
    content = packed((sound_lines(9), 1), (b"\n" * MB_4, 250), (sound_lines(1), 1))
    (tmp_path / "a.jsonl.zst").write_bytes(content)

    ended = server.start("clean", "a.jsonl.zst", "-o", "out", cwd=tmp_path).wait(500)

    assert ended.exit_code == 0, ended.stderr
    assert ended.peak_bytes < usual + 200_000_000


def test_a_packed_line_without_end_hears_a_signal(server, tmp_path):
    (tmp_path / "a.jsonl.zst").write_bytes(packed((b" " * MB_4, 25_000)))  # a hundred gigabytes
    command = server.start("clean", "a.jsonl.zst", "-o", "out", cwd=tmp_path)
    command.until("remove", _BEGUN)
    time.sleep(0.5)
    sent = time.monotonic()

    ended = command.send(signal.SIGTERM).wait()

    assert ended.exit_code == -signal.SIGTERM
    assert time.monotonic() - sent < 3
    assert ended.orphans == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_line_of_a_hundred_megabytes_is_a_document(server, tmp_path):
    text = sound(1) + " "
    text *= 100_000_000 // len(text)
    (tmp_path / "a.jsonl").write_bytes(jsonl({"text": text}))

    ended = server.start("clean", "a.jsonl", "-o", "out", cwd=tmp_path).wait(200)

    assert ended.exit_code == 0, ended.stderr
    assert next(read_corpus(tmp_path / "out")).text == text.rstrip()
    assert ended.peak_bytes < 3_000_000_000


# ------------------------------------------------------------------ standard input and output


@pytest.mark.parametrize(
    ("content", "number"),
    [
        pytest.param(sound_lines(20), 20, id="jsonl"),
        pytest.param(zstandard.compress(sound_lines(20)), 20, id="zst"),
        pytest.param(gzip.compress(sound_lines(20)), 20, id="gz"),
        pytest.param(
            b"id,text\n" + b"".join(f'{n},"{sound(n)}"\n'.encode() for n in range(20)), 20, id="csv"
        ),
        pytest.param(json.dumps([{"text": sound(n)} for n in range(20)]).encode(), 20, id="json"),
        pytest.param(sound(1).encode(), 1, id="text"),
        pytest.param(b"", 0, id="nothing"),
    ],
)
def test_standard_input_is_told_by_its_beginning(server, tmp_path, content, number):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "tmp").mkdir()
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()

    ended = server.run(
        *("clean", "-", "-o", "out", "--json"),
        cwd=tmp_path,
        stdin=str(tmp_path / "pipe"),
        env={"TMPDIR": str(tmp_path / "tmp")},
    )
    writer.join()

    if number:
        assert ended.exit_code == 0, ended.stderr
        assert json.loads(ended.stdout)["counts"]["kept"] == number
    else:
        assert refused(ended, BAD_DATA, "the input is empty: no document in -")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_quiet_says_nothing_but_errors_and_a_pipe_gets_whole_lines(server, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(sound_lines(150) + b"{}\n")

    loud = server.run("clean", "a.jsonl", "-o", "out", cwd=tmp_path)
    quiet = server.run("clean", "a.jsonl", "-o", "again", "--quiet", "--json", cwd=tmp_path)
    over = server.run("clean", "a.jsonl", "-o", "again", "--quiet", "--json", cwd=tmp_path)
    bad = server.run(
        *("clean", "a.jsonl", "-o", "bad", "-q", "--set", "clean.max_unreadable=0"), cwd=tmp_path
    )

    assert loud.stdout == "out\n"
    assert "\r" not in loud.stderr
    assert "\x1b" not in loud.stderr
    size = (tmp_path / "a.jsonl").stat().st_size
    clean, warning, place, write = loud.stderr.splitlines()
    assert clean.startswith(f"clean: {size:,}/{size:,} bytes")
    assert warning.startswith("warning: 1 of 151 documents (0.66%) cannot be read")
    assert place.strip() == "a.jsonl:151: no field 'text' (fields: none)"
    assert write.startswith("write: 150 documents")
    assert quiet.stderr == over.stderr == ""
    found = json.loads(quiet.stdout)
    assert (found["path"], found["ran"]) == ("again", ["clean"])
    assert json.loads(over.stdout) == {**found, "ran": []}
    assert refused(bad, BAD_DATA, "more than clean.max_unreadable = 0 allows")
