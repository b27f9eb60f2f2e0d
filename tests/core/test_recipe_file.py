"""recipe_file: YAML 1.2 by hand, then every way in which a file can be wrong, with its place."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pydantic
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core import recipe_file
from llmctl.core.errors import MissingInputError, RecipeError
from llmctl.core.recipe_file import MAX_BYTES, RecipeSource, explain, read


@pytest.fixture
def read_text(tmp_path):
    def run(content: str | bytes) -> RecipeSource:
        path = tmp_path / "r.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read(path)

    return run


class Inner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    steps: int = 1
    rate: float = 0.1


class Other(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    vocab_size: int = 1


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    train: Inner = Inner()
    tokenize: Other = Other()


def lines_of(source: RecipeSource) -> list[str]:
    """What is wrong, the file's own path left out."""
    error = None
    try:
        Model.model_validate(source.data)
    except pydantic.ValidationError as found:
        error = found
    return [line.removeprefix(f"{source.path.parent}/") for line in explain(source, Model, error)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-5", 1e-5),
        ("-1.5E+3", -1500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("nan", "nan"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("100s", "100s"),
        ("１２", "１２"),
        ("1" * 1001, "1" * 1001),
        ("[1, no, 你好]", [1, "no", "你好"]),
        ("{a: 1}", {"a": 1}),
        ("|\n  a\n  1\n", "a\n1\n"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(read_text, text, expected):
    found = read_text(f"key: {text}").data["key"]

    assert (found, type(found)) == (expected, type(expected))


def test_not_a_number_is_one(read_text):
    assert math.isnan(read_text("key: .NaN").data["key"])


@settings(max_examples=40, deadline=None)
@given(
    data=st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.integers()
        | st.floats(allow_nan=False)
        | st.booleans()
        | st.none()
        | st.text(max_size=8)
        | st.lists(st.integers(), max_size=3),
        max_size=4,
    )
)
def test_what_was_dumped_is_read_back(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_text(yaml.dump(data, Dumper=Dumper12, allow_unicode=True), encoding="utf-8")

    assert read(path).data == data


class Dumper12(yaml.SafeDumper):
    """Quotes every string and key, so that only the numbers are plain."""


Dumper12.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"# only a comment\n", id="only a comment"),
        pytest.param(b"---\n", id="an empty document"),
        pytest.param(b"null", id="null"),
        pytest.param(b"\xef\xbb\xbf", id="only a byte order mark"),
    ],
)
def test_a_file_that_says_nothing_is_an_empty_recipe(read_text, content):
    assert read_text(content).data == {}


def test_a_byte_order_mark_is_no_part_of_the_first_key(read_text):
    source = read_text("\ufefftrain: {}\r\n名字: 值\r\n".encode())

    assert source.data == {"train": {}, "名字": "值"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            "- a\n- b", "1:1: expected sections such as `train:`, found a list", id="list"
        ),
        pytest.param("5", "1:1: expected sections .* found a single value", id="a number"),
        pytest.param("train:\n\tsteps: 1", r"2:1: found character '\\t' that cannot", id="tab"),
        pytest.param("a: [1, 2\nb: 3", "2:2: expected ',' or ']', but got ':'", id="bracket"),
        pytest.param(
            "name: a\n<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> b\n",
            "3:1: could not find expected ':'",
            id="markers of a merge conflict",
        ),
        pytest.param("a: 1\n---\na: 2", "2:1: but found another document", id="two documents"),
        pytest.param("a: &x [1]\nb: *x", r"2:4: aliases \(\*name\) are not allowed", id="alias"),
        pytest.param("a: !!str 5", r"1:4: tags \(tag:yaml.org,2002:str\) are not", id="tag"),
        pytest.param("!!python/name:os.system a", "1:1: tags .* are not allowed", id="python tag"),
        pytest.param("a: 1\n键: \x07", r"2:4: a character that is no text, U\+0007", id="bell"),
        pytest.param(
            "a: \x00", r"1:4: a character that is no text, U\+0000; remove it", id="zero byte"
        ),
        pytest.param("a: " + "[" * 21 + "]" * 21, "1:23: nested too deeply", id="deep brackets"),
        pytest.param(
            "".join(" " * depth + "a:\n" for depth in range(21)) + " " * 21 + "1",
            "21:21: nested too deeply",
            id="deep sections",
        ),
        pytest.param(
            "名字: 好\n名: ".encode() + "你好".encode("gbk"),
            r"2:4: not UTF-8 \(byte 0xc4\); save the file as UTF-8",
            id="GBK, its column in characters",
        ),
        pytest.param(
            b"\xef\xbb\xbfa: 1\nb: \xc4\xe3",
            r"2:4: not UTF-8 \(byte 0xc4\)",
            id="GBK behind a byte order mark",
        ),
        pytest.param(b"\xef\xbb\xbfa: \xc4", "1:4: not UTF-8", id="the mark takes no column"),
        pytest.param("a: 1".encode("utf-16"), r"1:1: not UTF-8 \(byte 0xff\)", id="UTF-16"),
        pytest.param(b"#" * (MAX_BYTES + 1), "1:1: more than 1,000,000 bytes; is this", id="large"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_at_its_place(read_text, content, message):
    with pytest.raises(RecipeError, match=rf"r\.yaml:{message}") as raised:
        read_text(content)

    assert raised.value.exit_code == 78
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("a: " + "[" * 100_000, id="brackets without end"),
        pytest.param("[" * 100_000, id="brackets alone"),
        pytest.param("{a: " * 100_000, id="braces"),
        pytest.param("- " * 300_000, id="dashes"),
        pytest.param(b"a: " + b"x" * 10_000_000, id="10 MB"),
    ],
)
def test_a_hostile_file_is_refused_at_once(read_text, content):
    begun = time.monotonic()

    with pytest.raises(RecipeError, match=r"nested too deeply|more than 1,000,000 bytes"):
        read_text(content)

    assert time.monotonic() - begun < 5


def test_exactly_so_deep_and_so_large_is_read(read_text, monkeypatch):
    monkeypatch.setattr(recipe_file, "MAX_BYTES", 1000)
    assert read_text("a: " + "[" * 19 + "]" * 19).data["a"] == eval("[" * 19 + "]" * 19)
    assert read_text(b"a: 1\n" + b"#" * 995).data == {"a": 1}


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_opened_is_missing(tmp_path, name):
    with pytest.raises(MissingInputError, match="cannot be read: "):
        read(tmp_path / name)


def test_a_key_written_twice_is_an_error_at_the_second_place(read_text):
    source = read_text("train:\n  steps: 1\n  steps: 2\ntrain: {}\n")

    assert lines_of(source) == [
        "r.yaml:3:3: train.steps: written twice; keep one of them",
        "r.yaml:4:1: train: written twice; keep one of them",
    ]
    assert source.data == {"train": {"steps": 1}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            "train:\n  step: 5",
            "2:3: train.step: no such key; did you mean steps?",
            id="a slip of the pen in its section",
        ),
        pytest.param(
            "train:\n  vocab_size: 5",
            "2:3: train.vocab_size: no such key; did you mean tokenize.vocab_size?",
            id="a key of another section",
        ),
        pytest.param(
            "vocab_sise: 5",
            "1:1: vocab_sise: no such key; did you mean tokenize.vocab_size?",
            id="a slip and another section",
        ),
        pytest.param(
            "tarin: {}", "1:1: tarin: no such key; did you mean train?", id="a section's name"
        ),
        pytest.param(
            "train: {层数: 5}",
            "1:9: train.层数: no such key; known here: steps, rate",
            id="nothing like it: what is known",
        ),
        pytest.param(
            "train: {'': 5}",
            "1:9: train.: no such key; known here: steps, rate",
            id="an empty key",
        ),
        pytest.param(
            "train: {steps: 1e3}",
            "1:9: train.steps: input should be a valid integer, found 1000.0",
            id="a number of the wrong kind",
        ),
        pytest.param(
            "train: {steps: no}",
            '1:9: train.steps: input should be a valid integer, found "no"',
            id="a word that YAML 1.1 made a truth value",
        ),
        pytest.param(
            f"train: {{steps: {'长' * 60}}}",
            f'1:9: train.steps: input should be a valid integer, found "{"长" * 36}…',
            id="a long value is cut",
        ),
        pytest.param(
            f"train: {{steps: {'1' * 5000}}}",
            f'1:9: train.steps: input should be a valid integer, found "{"1" * 36}…',
            id="more digits than Python converts",
        ),
        pytest.param(
            "train: {steps: [1]}",
            "1:9: train.steps: input should be a valid integer",
            id="a list is not repeated",
        ),
        pytest.param(
            "train:\n",
            "1:1: train: expected a section with keys, found null",
            id="an empty section",
        ),
        pytest.param(
            "? [a, b]\n: 1",
            "1:3: ?: no such key; known here: train, tokenize",
            id="a list as a key",
        ),
    ],
)
def test_every_error_says_where_and_what_may_be_meant(read_text, content, expected):
    assert lines_of(read_text(content)) == [f"r.yaml:{expected}"]


def test_all_errors_come_at_once_in_the_files_order_and_those_of_set_last(read_text):
    source = read_text(
        "tokenize:\n  vocab_size: x\n  vocab_size: 3\nsize: 1\ntrain:\n  steps: no\n  rat: 1\n"
    )
    source.override("train.zzz=1")
    source.override("train")
    source.override("tokenize.abc=1")

    assert [line.partition(": ")[0] for line in lines_of(source)] == [
        "r.yaml:2:3",
        "r.yaml:3:3",
        "r.yaml:4:1",
        "r.yaml:6:3",
        "r.yaml:7:3",
        "--set train.zzz=1",
        "--set train",
        "--set tokenize.abc=1",
    ]


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        pytest.param(["train.steps=200"], {"train": {"steps": 200}}, id="a number"),
        pytest.param(["train.steps=1", "train.steps=2"], {"train": {"steps": 2}}, id="later wins"),
        pytest.param(["a=b=c"], {"a": "b=c"}, id="only the first = divides"),
        pytest.param(["a="], {"a": None}, id="nothing is null"),
        pytest.param(["a=''"], {"a": ""}, id="the empty text"),
        pytest.param([" a.b =1"], {"a": {"b": 1}}, id="white space around the key"),
        pytest.param(["a=[你, 1e-5]"], {"a": ["你", 1e-5]}, id="a list of YAML 1.2"),
        pytest.param(["a={b: 1}", "a.c=2"], {"a": {"b": 1, "c": 2}}, id="into a section set whole"),
    ],
)
def test_set_reads_its_value_as_yaml(assignments, expected):
    source = RecipeSource(Path("r.yaml"))
    for assignment in assignments:
        source.override(assignment)

    assert (source.data, source.errors) == (expected, [])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.steps", "expected KEY=VALUE, e.g. train.steps=200"),
        ("=5", "expected KEY=VALUE, e.g. train.steps=200"),
        ("train..steps=5", "expected KEY=VALUE, e.g. train.steps=200"),
        ("train.steps=[1", "not a YAML value: expected ',' or ']', but got '<stream end>' "),
        ("train.steps=*a", "not a YAML value: aliases (*name) are not allowed in a recipe"),
        ("train.steps=\x07", "not a YAML value: a character that is no text, U+0007; remove it"),
        ("name.first=5", "name is not a section"),
        ("train.deep=" + "[" * 30, "not a YAML value: nested too deeply"),
    ],
)
def test_a_set_that_is_none_is_an_error_naming_the_flag(read_text, assignment, message):
    source = read_text("name: a")

    source.override(assignment)

    [(place, text)] = source.errors
    assert place.shown == f"--set {assignment}"
    assert text.startswith(message)


def test_errors_in_a_value_that_set_replaced_name_the_flag(read_text):
    source = read_text("train:\n  steps: 1\n  rate: x\n")
    source.override("train.rate=y")

    source.override("tokenize={vocab_size: z}")

    assert lines_of(source) == [
        '--set train.rate=y: train.rate: input should be a valid number, found "y"',
        "--set tokenize={vocab_size: z}: tokenize.vocab_size: input should be a valid integer, "
        'found "z"',
    ]


def test_errors_in_what_only_set_wrote_name_the_flag(read_text):
    source = read_text("train: {rate: 1.0}")
    source.override("train.steps=")
    source.override("tran.steps=5")

    assert lines_of(source) == [
        "--set train.steps=: train.steps: input should be a valid integer, found null",
        "--set tran.steps=5: tran: no such key; did you mean train?",
    ]


def test_a_set_value_that_breaks_off_leaves_the_files_value(read_text):
    source = read_text("train: {steps: 5}")

    source.override("train.steps=[1")

    assert source.data == {"train": {"steps": 5}}


def test_filling_a_key_does_not_replace_it(read_text):
    source = read_text("name: a")

    source.fill("name", "b")
    source.fill("seed", "c")

    assert source.data == {"name": "a", "seed": "c"}


def test_what_was_not_written_is_at_the_beginning(read_text):
    assert read_text("name: a").place(("seed",)).shown.endswith("r.yaml:1:1")
    assert recipe_file.RecipeSource(Path("r.yaml")).place(()).shown == "r.yaml:1:1"
