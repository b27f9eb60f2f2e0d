"""evaluate with a model that can be worked out by hand, then files, texts and refusals."""

from __future__ import annotations

import dataclasses
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from llmctl.core.errors import DataError, Interrupted, MissingInputError, NumericsError
from llmctl.core.language_model import document_scoring
from llmctl.core.manifest import Identity
from llmctl.core.progress import Progress
from llmctl.core.recipe import EvalPlan
from llmctl.core.stages import evaluate as stage
from llmctl.core.stages.evaluate import evaluate, evaluate_files, evaluate_hypotheses
from llmctl.core.stopping import Stop
from llmctl.core.workspace import Workspace

BIT = math.log(2)
VALIDATION = [
    "天地玄黄，宇宙洪荒。" * 9,
    "It rained all day, and the night was long. " * 7,
    "",
    "ab",
]
TRAINING = ["日月盈昃，辰宿列张。" * 20, "The day was long. " * 40]


class BitPerByteModel:
    """Every byte is a token and costs one bit; those of Chinese text two."""

    device = "cpu"
    tokenizer = SimpleNamespace(vocab_size=256)
    model = SimpleNamespace(context_tokens=64, parameters=lambda: [np.zeros(3)])

    def __init__(self):
        self.calls = []

    def score(self, texts):
        self.calls.append(list(texts))
        return [self._score(text.encode()) for text in texts]

    def _score(self, content):
        bits = np.where(np.frombuffer(content, np.uint8) > 127, 2.0, 1.0)
        return SimpleNamespace(nats_N=bits * BIT, byte_counts_N=np.ones(len(content), np.int64))


class BytesOfText:
    """A tokenizer of which every id is a byte, and 256 the end of a text."""

    def decode(self, ids):
        return bytes(token for token in ids if token < 256).decode()


class Split:
    def __init__(self, texts):
        self._texts = texts
        self.num_documents = len(texts)

    def document(self, index):
        return np.array([*self._texts[index].encode(), 256])


@pytest.fixture
def language_model(monkeypatch):
    model = BitPerByteModel()
    model.model.parameters = lambda: [SimpleNamespace(numel=lambda: 7)]
    monkeypatch.setattr(stage, "open_model", lambda _path, *, device: model)
    return model


@pytest.fixture
def shards(monkeypatch, tmp_path):
    splits = {"validation": Split(VALIDATION), "train": Split(TRAINING)}
    opened = SimpleNamespace(
        tokenizer_path=tmp_path, split=splits.__getitem__, require_content=lambda *_: None
    )
    monkeypatch.setattr(stage.TokenShards, "open", lambda _path: opened)
    monkeypatch.setattr(stage.Tokenizer, "from_file", lambda _path, *, lossless: BytesOfText())
    return splits


@pytest.fixture
def model_directory(tmp_path):
    directory = tmp_path / "model"
    directory.mkdir()
    rows = [
        {"step": 1, "tokens": 10, "seconds": 0.5, "loss": 5.0, "learning_rate": 0.1},
        {"step": 2, "tokens": 20, "seconds": 1.0, "loss": 4.0, "learning_rate": 0.2},
        {"step": 2, "validation_loss": 4.5, "validation_bits_per_byte": 2.0},
    ]
    samples = [{"step": 2, "prompt": "春风", "text": "又绿<江南>岸"}]
    for name, content in (("metrics.jsonl", rows), ("samples.jsonl", samples)):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in content]
        (directory / name).write_text("".join(lines), encoding="utf-8")
    return directory


def run(tmp_path, model_directory, *, progress=None, **plan):
    plan = EvalPlan(**{"bootstrap_samples": 20, **plan})
    identity = Identity("report", {}, {"model": "0123456789abcdef"})
    workspace = Workspace(tmp_path / "runs" / "双语" / "report", identity)
    manifest = evaluate(
        plan, model_directory, tmp_path, workspace, seed=1, progress=progress or Progress()
    )
    return manifest, workspace.target


def test_figures_by_hand(tmp_path, language_model, shards, model_directory):
    manifest, target = run(tmp_path, model_directory)

    chinese, english, short = (len(text.encode()) for text in VALIDATION if text)
    total = chinese + english + short
    counts = manifest.counts
    assert counts["documents"] == 3  # the empty one is left out
    assert counts["bytes"] == counts["tokens"] == total
    assert counts["characters"] == sum(map(len, VALIDATION))
    assert counts["bits_per_byte"] == pytest.approx((2 * chinese + english + short) / total)
    assert counts["token_perplexity"] == pytest.approx(2 ** counts["bits_per_byte"])
    low, high = counts["bits_per_byte_interval"]
    assert 0.999 < low < counts["bits_per_byte"] < high < 2.001
    report = json.loads((target / "report.json").read_text(encoding="utf-8"))
    assert report["name"] == "双语"
    assert report["validation"]["bits_per_byte"] == counts["bits_per_byte"]
    assert report["languages"]["zh"]["bits_per_byte"] == pytest.approx(2.0)
    assert report["languages"]["en"]["bits_per_byte"] == pytest.approx(1.0)
    assert report["made"]["model"] == "key 0123456789ab"


def test_compression_is_that_of_the_same_bytes(tmp_path, language_model, shards, model_directory):
    import lzma

    manifest, _ = run(tmp_path, model_directory)

    text, training = ("".join(texts).encode() for texts in (VALIDATION, TRAINING))
    alone, primer, both = (
        len(lzma.compress(data, preset=9)) for data in (text, training, training + text)
    )
    assert manifest.counts["xz_bits_per_byte"] == 8 * alone / len(text)
    assert manifest.counts["xz_primed_bits_per_byte"] == 8 * (both - primer) / len(text)


def test_long_texts_are_compressed_within_the_window(
    tmp_path, language_model, shards, model_directory, monkeypatch
):
    import lzma

    monkeypatch.setattr(stage, "WINDOW_BYTES", 500)
    monkeypatch.setattr(stage, "MAX_COMPRESSED_BYTES", 100)

    manifest, target = run(tmp_path, model_directory)

    text = "".join(VALIDATION).encode()[:100]
    assert manifest.counts["xz_bits_per_byte"] == 8 * len(lzma.compress(text, preset=9)) / 100
    how = json.loads((target / "report.json").read_text(encoding="utf-8"))["made"]["compression"]
    assert "first 100 bytes of the validation split" in how
    assert "first 400 bytes of the training split" in how


def test_without_compression_and_intervals(tmp_path, language_model, shards, model_directory):
    manifest, target = run(tmp_path, model_directory, compression=False, bootstrap_samples=0)

    assert not {name for name in manifest.counts if "xz" in name or "interval" in name}
    assert "xz" not in (target / "report.md").read_text(encoding="utf-8")


def test_report_shows_training_and_extremes(tmp_path, language_model, shards, model_directory):
    _, target = run(tmp_path, model_directory)

    html = (target / "report.html").read_text(encoding="utf-8")
    for words in ("How it learned", "又绿&lt;江南&gt;岸", "春风", "Hardest to predict", "天地玄黄"):
        assert words in html
    rows = [
        json.loads(line)
        for line in (target / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [(row["kind"], row["document"]) for row in rows] == [("hardest", 0), ("easiest", 3)]
    assert rows[0]["text"] == VALIDATION[0][: stage.SAMPLE_CHARACTERS]


def test_plan_data_is_scored_too(tmp_path, language_model, shards, model_directory):
    text, lines = tmp_path / "书.txt", tmp_path / "lines.jsonl"
    text.write_text("春风又绿江南岸", encoding="utf-8")
    lines.write_text('{"text": "ab"}\n{"text": "春"}\n', encoding="utf-8")

    manifest, _ = run(tmp_path, model_directory, data=(str(text), str(lines)))

    assert manifest.counts["data"] == {
        str(text): pytest.approx(2.0),
        str(lines): pytest.approx((2 + 6) / 5),
    }


class EndsAfter(Progress):
    """Asks for the end at the n-th check."""

    def __init__(self, num_checks):
        super().__init__(Stop())
        self.left = num_checks

    def check(self):
        self.left -= 1
        if self.left < 0:
            raise Interrupted(15)


def test_interrupted_run_goes_on_and_gives_the_same_bytes(
    tmp_path, language_model, shards, model_directory, monkeypatch
):
    monkeypatch.setattr(document_scoring, "UNIT_DOCUMENTS", 1)
    whole, _ = run(tmp_path / "whole", model_directory)
    language_model.calls.clear()

    for num_checks in range(1, 5):
        with pytest.raises(Interrupted):
            run(tmp_path / "cut", model_directory, progress=EndsAfter(num_checks))
    again, _ = run(tmp_path / "cut", model_directory)

    assert language_model.calls == [[text] for text in VALIDATION]  # none was scored twice
    assert again.files == whole.files
    assert again.counts == whole.counts


def test_refuses_a_likelihood_that_is_none(tmp_path, language_model, shards, model_directory):
    def score(texts):
        return [SimpleNamespace(nats_N=np.array([math.nan])) for _ in texts]

    language_model.score = score

    with pytest.raises(NumericsError, match="document 0: the model gives it nan nats"):
        run(tmp_path, model_directory)


def test_refuses_an_empty_validation_split(tmp_path, language_model, shards, model_directory):
    shards["validation"] = Split([""])

    with pytest.raises(DataError, match="validation split holds no text; raise tokenize"):
        run(tmp_path, model_directory)


def files(tmp_path, language_model, *paths):
    return evaluate_files(
        tmp_path, list(paths), device="cpu", bootstrap_samples=10, seed=1, progress=Progress()
    )


def test_evaluate_files_by_hand(tmp_path, language_model):
    path = tmp_path / "notes"
    path.write_text("ab春", encoding="utf-8")

    scores = files(tmp_path, language_model, path)

    (found,) = scores["data"]
    assert found["path"] == str(path)
    assert found["bits_per_byte"] == pytest.approx(8 / 5)
    assert found["bits_per_character"] == pytest.approx(8 / 3)
    assert found["bits_per_byte_interval"] is None  # one document
    assert (found["documents"], found["bytes"]) == (1, 5)
    assert scores["made"]["dtype"] == "float32"
    json.dumps(scores)


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        pytest.param("a.txt", None, MissingInputError, "a.txt: No such file", id="absent"),
        pytest.param("a.txt", b"", DataError, "a.txt: holds no text to score", id="empty"),
        pytest.param("a.jsonl", b"\n", DataError, "a.jsonl: holds no text", id="no records"),
        pytest.param("a.txt", b"ab\n\xff", DataError, r"a.txt:2: invalid UTF-8", id="not UTF-8"),
        pytest.param(
            "a.jsonl", b'{"body": 1}\n', DataError, "a.jsonl:1: no field 'text'", id="no text field"
        ),
    ],
)
def test_evaluate_files_refuses(tmp_path, language_model, name, content, error, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(error, match=message):
        files(tmp_path, language_model, tmp_path / name)


def test_evaluate_files_refuses_a_directory(tmp_path, language_model):
    with pytest.raises(MissingInputError, match="a directory; expected a text file"):
        files(tmp_path, language_model, tmp_path)


def written(path, *lines, end="\n"):
    path.write_bytes(end.join([*lines, ""]).encode())
    return path


def test_hypotheses_identical_chinese(tmp_path):
    path = written(tmp_path / "h", "今天的天气非常好。", "我们一起去公园散步吧。")

    scores = evaluate_hypotheses(path, [path])

    assert scores["language"] == "zh"
    assert (scores["lines"], scores["references"]) == (2, 1)
    assert scores["bleu"]["score"] == pytest.approx(100)
    assert scores["chrf"]["score"] == pytest.approx(100)
    assert scores["rouge"]["rouge1"] == scores["rouge"]["rougeLsum"] == 1.0
    assert "tok:zh" in scores["bleu"]["signature"]
    json.dumps(scores)


def test_hypotheses_against_several_references_in_a_given_language(tmp_path):
    from sacrebleu.metrics import BLEU

    lines = {
        "h": ["a b c d e f", "x y z w"],
        "r1": ["a b c d e g", "x y z v"],
        "r2": ["a b c d f f", "x y w w"],
    }
    paths = {name: written(tmp_path / name, *texts) for name, texts in lines.items()}

    scores = evaluate_hypotheses(paths["h"], [paths["r1"], paths["r2"]], "fr")

    assert scores["language"] == "fr"
    expected = BLEU().corpus_score(lines["h"], [lines["r1"], lines["r2"]]).score
    assert scores["bleu"]["score"] == pytest.approx(expected, abs=1e-12)
    assert "nrefs:2" in scores["bleu"]["signature"]


@pytest.mark.parametrize(
    ("hypotheses", "references"),
    [
        pytest.param(b"a\r\nb\r\n", b"a\nb\n", id="line ends of Windows"),
        pytest.param("a\u2028x\nb".encode(), "a\u2028x\nb\n".encode(), id="no cut inside a line"),
        pytest.param(b"\xef\xbb\xbfa\n\nb\n", b"a\n\nb\n", id="byte order mark, an empty line"),
    ],
)
def test_lines_are_told_apart_by_line_feeds_alone(tmp_path, hypotheses, references):
    (tmp_path / "h").write_bytes(hypotheses)
    (tmp_path / "r").write_bytes(references)

    assert evaluate_hypotheses(tmp_path / "h", [tmp_path / "r"])["chrf"]["score"] == 100


@pytest.mark.parametrize(
    ("hypotheses", "references", "error", "message"),
    [
        pytest.param(b"a\nb\n", b"a\n", DataError, "h has 2 lines and .*r has 1", id="unequal"),
        pytest.param(b"", b"a\n", DataError, "h: empty; expected a text a line", id="empty"),
        pytest.param(b"a\n", b" \n", DataError, "r: empty", id="empty references"),
        pytest.param(b"a\n\xff\n", b"a\nb\n", DataError, r"h:2: not UTF-8 \(byte 0xff", id="bytes"),
        pytest.param(None, b"a\n", MissingInputError, "h: No such file", id="absent"),
    ],
)
def test_hypotheses_refuses(tmp_path, hypotheses, references, error, message):
    for name, content in (("h", hypotheses), ("r", references)):
        if content is not None:
            (tmp_path / name).write_bytes(content)

    with pytest.raises(error, match=message):
        evaluate_hypotheses(tmp_path / "h", [tmp_path / "r"])


def test_comparing_texts_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, llmctl.core.stages.evaluate; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scores_can_be_read_back_as_rows():
    score = document_scoring.DocumentScore(0.1 + 0.2, 1, 2, 3, "zh")

    assert (
        document_scoring.DocumentScore(*json.loads(json.dumps(dataclasses.astuple(score)))) == score
    )
