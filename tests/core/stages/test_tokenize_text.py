"""Lines to ids and back: rows, refusals and what is written before them."""

from __future__ import annotations

import io
import json

import orjson
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models

from llmctl.core.artifacts.line_batches import LineSource
from llmctl.core.errors import DataError
from llmctl.core.stages import tokenize_text
from llmctl.core.stages.tokenize_text import LineEncoder, decode_lines
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import END_OF_TEXT, TrainingRequest, train


class Target(io.BytesIO):
    """Remembers what had been written at each flush."""

    def __init__(self):
        super().__init__()
        self.flushed = []

    def flush(self):
        self.flushed.append(self.getvalue())


class Batches:
    """A source whose batches are given."""

    name = "lines"

    def __init__(self, *batches):
        self.batches = batches

    def open(self):
        from contextlib import contextmanager

        @contextmanager
        def opened():
            starts = [1 + sum(map(len, self.batches[:i])) for i in range(len(self.batches))]
            yield iter(zip(starts, self.batches, strict=True))

        return opened()

    fault = LineSource.fault


@pytest.fixture(scope="module")
def tokenizer():
    """END_OF_TEXT is 0, the bytes are 1 to 256; 世 and "ab" are tokens."""
    return Tokenizer(train(["世 ab " * 9], TrainingRequest(260, 2)))


def encoded(tokenizer, *batches, **options):
    target = Target()
    LineEncoder(tokenizer, **options).encode(Batches(*batches), target)
    return target


def decoded(tokenizer, *batches, **options):
    target = Target()
    decode_lines(tokenizer, Batches(*batches), target, **options)
    return target


def test_a_row_a_line_as_soon_as_it_is_there(tokenizer):
    target = encoded(tokenizer, ["世ab".encode(), b""], [b"b"])

    ids = [tokenizer.encode("世ab"), [], tokenizer.encode("b")]
    assert target.getvalue() == b"".join(b'{"ids":%s}\n' % orjson.dumps(line) for line in ids)
    assert [content.count(b"\n") for content in target.flushed] == [2, 3]


def test_pieces_and_special_tokens(tokenizer):
    text = f"ab{END_OF_TEXT}".encode()

    (plain,) = encoded(tokenizer, [text]).getvalue().splitlines()
    (special,) = (
        encoded(tokenizer, [text], recognise_specials=True, with_pieces=True)
        .getvalue()
        .splitlines()
    )

    assert json.loads(plain)["ids"] == tokenizer.encode(text.decode())
    assert json.loads(special)["pieces"] == ["ab", END_OF_TEXT]
    assert json.loads(special)["ids"][1] == 0


def test_looks_for_a_faster_way_once_it_pays(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenize_text, "PATIENCE_BYTES", 4)
    asked = []

    def open_faster():
        asked.append(True)
        return lambda texts: [[9]] * len(texts)

    batches = [[b"ab", b"b"], [b"b"], [b"a", b"b"], [b""]]
    rows = encoded(tokenizer, *batches, open_faster=open_faster).getvalue().splitlines()
    same = encoded(tokenizer, *batches, open_faster=open_faster, recognise_specials=True)

    assert [row == b'{"ids":[9]}' for row in rows] == [False] * 3 + [True] * 3
    assert asked == [True]
    assert b"[9]" not in same.getvalue()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a\xff", "invalid UTF-8: invalid start byte 0xff at byte 1 of the line"),
        (b"\xed\xa0\x80", "invalid UTF-8: invalid continuation byte 0xed at byte 0"),
        ("世".encode()[:2], "invalid UTF-8: unexpected end of data 0xe4 at byte 0"),
    ],
)
def test_refuses_what_is_no_text_after_the_lines_before(tokenizer, line, reason):
    target = Target()

    with pytest.raises(DataError, match=rf"^lines:4: {reason}"):
        LineEncoder(tokenizer).encode(Batches([b"a"], [b"b", b"", line, b"c"]), target)

    assert target.flushed[-1].count(b"\n") == 3


def test_names_the_line_that_cannot_be_encoded():
    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="<unk>"))
    backend.decoder = decoders.Fuse()
    target = Target()

    with pytest.raises(DataError, match=r"^lines:2: .*the text cannot be encoded"):
        LineEncoder(Tokenizer(backend)).encode(Batches([b"a", b"b", b"a"]), target)

    assert target.flushed == [b'{"ids":[0]}\n']


def test_ids_are_read_in_three_ways(tokenizer):
    ab = tokenizer.encode("ab")[0]
    forms = [b'{"text":"x","ids":[%d, 0]}' % ab, b"[%d,0]\r" % ab, b" %d\t000 " % ab, b"", b"[]"]

    target = decoded(tokenizer, forms[:2], forms[2:])

    text = b'{"text":"ab%s"}\n' % END_OF_TEXT.encode()
    assert target.getvalue() == 3 * text + 2 * b'{"text":""}\n'
    assert [content.count(b"\n") for content in target.flushed] == [2, 5]


def test_incomplete_characters(tokenizer):
    of_byte = {tokenizer.token_bytes(token): token for token in range(1, 257)}
    line = orjson.dumps([of_byte[b"\xe4"], of_byte[b"\xb8"], of_byte[b"\n"]])

    assert decoded(tokenizer, [line, line], raw=True).getvalue() == b"\xe4\xb8\n\xe4\xb8\n"
    assert decoded(tokenizer, [line]).getvalue() == '{"text":"\ufffd\\n"}\n'.encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"9999", "the id 9999, of 260 entries"),
        (b"[-1]", "the id -1, of 260 entries"),
        (b"9" * 5000, "the id 99999999999999999999, of"),
        (b"-1", r"found '-1', expected \{\"ids\": \[1, 2\]\}, \[1, 2\] or 1 2"),
        (b"1,2", "found '1,2', expected"),
        ("一".encode(), "found '一', expected"),
        (b"[1", "not JSON: "),
        (b'{"id": 1, "text": "x"}', r"no field ids \(fields: id, text\), expected"),
        (b"{}", r"no field ids \(fields: none\)"),
        (b'{"ids": "12"}', "the ids are a string, expected"),
        (b"[true]", "an id is 'true', expected whole numbers"),
        (b"[1, 1.0]", "an id is '1.0', expected whole numbers"),
        (b"[[1]]", r"an id is '\[1\]', expected whole numbers"),
        (b"[99999999999999999999999]", "an id is '1e\\+23', expected"),
    ],
)
def test_refuses_other_lines_after_those_before(tokenizer, line, reason):
    target = Target()

    with pytest.raises(DataError, match=f"^lines:3: {reason}"):
        decode_lines(tokenizer, Batches([b"1"], [b"2", line, b"3"]), target)

    assert target.flushed[-1].count(b"\n") == 2


def test_a_number_may_begin_with_any_number_of_zeros(tokenizer):
    assert decoded(tokenizer, [b"0" * 30 + b"33"]).getvalue() == b'{"text":"A"}\n'


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(st.text().map(lambda text: text.replace("\n", "")), max_size=5))
def test_what_was_encoded_comes_back(tokenizer, lines):
    rows = encoded(tokenizer, [line.encode() for line in lines]).getvalue().splitlines()

    assert len(rows) == len(lines)
    assert decoded(tokenizer, rows, raw=True).getvalue() == "".join(lines).encode()
    texts = decoded(tokenizer, rows).getvalue().splitlines()
    assert [orjson.loads(text)["text"] for text in texts] == lines
