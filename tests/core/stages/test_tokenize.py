"""tokenize: nothing lost, splits by content, the same bytes whatever happens on the way."""

from __future__ import annotations

import json
import random
import signal
from functools import partial
from pathlib import Path

import made_corpus
import numpy as np
import pytest
from pyarrow import parquet

from llmctl.core import atomic
from llmctl.core.artifacts.documents import Document
from llmctl.core.artifacts.shards import TokenShards
from llmctl.core.errors import DataError, Interrupted, MissingInputError
from llmctl.core.manifest import Identity, read_manifest
from llmctl.core.progress import Progress
from llmctl.core.recipe import TokenizePlan
from llmctl.core.stages import tokenize as stage
from llmctl.core.stages.tokenize import evenly_taken, tokenize
from llmctl.core.text.splitting import content_hash
from llmctl.core.tokens.bpe import END_OF_TEXT, train_bpe
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.workspace import Workspace

PLAN = TokenizePlan(vocab_size=300, validation_share=0.2, shard_tokens=300)
WORDS = ["the", "small", "river", "world", "stone", "carries", "light", "over", "morning"]
HAN = "世界人们河山日月光年水火木石"


def made_texts(num_texts=24, seed=5):
    draw = random.Random(seed)
    texts = [
        "".join(draw.choices(HAN, k=30)) + "。\n"
        if number % 3 == 2
        else " ".join(draw.choices(WORDS, k=14)) + ".\n\n    code(1234)\n"
        for number in range(num_texts)
    ]
    return [*texts, f"Some say {END_OF_TEXT}, others {END_OF_TEXT}{END_OF_TEXT}.", "𠮷👩‍❤️‍👩\r\x00"]


def write_corpus(folder: Path, texts):
    def document(text):
        language = "zh" if any(character in HAN for character in text) else "en"
        return Document(f"{content_hash(text):x}", "文 1.jsonl", language, text, {})

    return made_corpus.write_corpus(folder, map(document, texts))


def run(folder, corpus, plan=PLAN, *, seed=1, progress=None):
    identity = Identity("shards", {"seed": seed, **plan.model_dump(mode="json")})
    space = Workspace(folder / "shards", identity)
    return tokenize(plan, corpus, space, seed=seed, progress=progress or Progress())


def contents(folder):
    """Every file of the shards but the manifest, which tells the time."""
    return {
        path.name: path.read_bytes()
        for path in sorted((folder / "shards").iterdir())
        if path.name != "manifest.json"
    }


def documents_of(folder, split):
    shards = TokenShards.open(folder / "shards")
    tokenizer = Tokenizer.from_file(shards.tokenizer_path)
    found = shards.split(split)
    return [tokenizer.decode(found.document(index)) for index in range(found.num_documents)]


class Told(Progress):
    """Remembers the warnings; asks for an early end at a check."""

    def __init__(self, end_at=None):
        super().__init__()
        self.warnings = []
        self.num_checks = 0
        self.end_at = end_at

    def warn(self, message):
        self.warnings.append(message)

    def check(self):
        self.num_checks += 1
        if self.num_checks == self.end_at:
            raise Interrupted(signal.SIGTERM)


@pytest.fixture
def trained_here(monkeypatch):
    """Learn tokenizers in this process, which is quicker; tells how many were learnt."""
    learnt = []

    def train(texts, request, directory, target, *, progress):
        learnt.append(target)
        progress.check()
        backend = train_bpe(texts, request.vocab_size, request.min_frequency)
        atomic.write_file(target, backend.to_str(pretty=True).encode() + b"\n")

    monkeypatch.setattr(stage, "train_in_child", train)
    return learnt


@pytest.fixture
def small_units(monkeypatch):
    monkeypatch.setattr(stage, "UNIT_BYTES", 600)
    monkeypatch.setattr(stage, "BATCH_CHARACTERS", 200)
    monkeypatch.setattr(stage, "SEGMENT_CHARACTERS", 40)


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus", made_texts())


def test_every_document_is_found_again_where_the_table_says(tmp_path, corpus):
    run(tmp_path, corpus)  # with the child that learns in earnest
    shards = TokenShards.open(tmp_path / "shards")
    tokenizer = Tokenizer.from_file(shards.tokenizer_path)
    by_id = {f"{content_hash(text):x}": text for text in made_texts()}

    rows = parquet.read_table(tmp_path / "shards" / "documents.parquet").to_pylist()
    assert {row["id"] for row in rows} == set(by_id)
    assert {row["source"] for row in rows} == {"文 1.jsonl"}
    for row in rows:
        split = shards.split(row["split"])
        index = int(np.searchsorted(split.ends, row["offset"], side="right"))
        ids = split.document(index).tolist()
        assert ids.index(tokenizer.end_of_text_id) == len(ids) - 1
        assert tokenizer.decode(ids) == by_id[row["id"]]


def test_counts(tmp_path, corpus, trained_here):
    counts = run(tmp_path, corpus).counts
    shards = TokenShards.open(tmp_path / "shards")
    splits = {name: shards.split(name) for name in ("train", "validation")}
    texts = made_texts()

    assert counts["content"] == "text"
    assert counts["dtype"] == "uint16"
    assert counts["vocab_size"] == 300
    for name, split in splits.items():
        assert counts[f"{name}_tokens"] == split.num_tokens
        assert counts[f"{name}_documents"] == split.num_documents
        held = "".join(documents_of(tmp_path, name))
        assert counts[f"{name}_text_bytes"] == len(held.encode())
    assert counts["train_documents"] + counts["validation_documents"] == len(texts)
    assert counts["text_characters"] == len("".join(texts))
    assert counts["literal_special_tokens"] == 3
    num_bytes = len("".join(texts).encode())
    num_tokens = sum(split.num_tokens for split in splits.values()) - len(texts)
    assert counts["bytes_per_token"] == round(num_bytes / num_tokens, 4)
    assert set(counts["bytes_per_token_by_language"]) == {"en", "zh"}
    used = {int(token) for split in splits.values() for token in split.tokens[:]}
    assert counts["unused_entries"] == 300 - len(used)


def test_counts_per_language_are_worked_by_hand(tmp_path, trained_here):
    # Without merges a token is a byte: one byte a token in every language.
    corpus = write_corpus(tmp_path / "corpus", ["abc", "世", "def"])

    counts = run(tmp_path, corpus, PLAN.model_copy(update={"vocab_size": 257})).counts

    assert counts["bytes_per_token_by_language"] == {"en": 1.0, "zh": 1.0}
    assert counts["train_tokens"] + counts["validation_tokens"] == 3 + 3 + 3 + 3
    assert counts["unused_entries"] == 256 - len(set("abc世def".encode()))


def test_shards_are_closed_after_the_planned_tokens(tmp_path, corpus, trained_here):
    run(tmp_path, corpus)

    for path in (tmp_path / "shards").glob("train-*.ends"):
        ends = np.fromfile(path, "<u8")
        assert len(ends) == 1 or ends[-2] < PLAN.shard_tokens
    assert len(list((tmp_path / "shards").glob("train-*.bin"))) > 1


def test_tokenizer_learns_from_the_training_split_alone(tmp_path, corpus, monkeypatch):
    learnt_from = []

    def train(texts, request, directory, target, *, progress):
        learnt_from.extend(texts)
        target.write_bytes(train_bpe(learnt_from, 300, 2).to_str().encode())

    monkeypatch.setattr(stage, "train_in_child", train)
    run(tmp_path, corpus)

    assert sorted(learnt_from) == sorted(documents_of(tmp_path, "train"))


def test_split_and_shards_do_not_depend_on_the_order_of_the_corpus(tmp_path, trained_here):
    texts = made_texts()
    write_corpus(tmp_path / "one" / "corpus", texts)
    write_corpus(tmp_path / "two" / "corpus", texts[::-1])
    for name in ("one", "two"):
        run(tmp_path / name, tmp_path / name / "corpus")

    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_growth_moves_no_document_to_the_other_split(tmp_path, trained_here):
    write_corpus(tmp_path / "one" / "corpus", made_texts())
    write_corpus(tmp_path / "two" / "corpus", [*made_texts(60, seed=6), *made_texts()])
    for name in ("one", "two"):
        run(tmp_path / name, tmp_path / name / "corpus")

    for split in ("train", "validation"):
        assert set(documents_of(tmp_path / "one", split)) < set(
            documents_of(tmp_path / "two", split)
        )


def test_texts_that_say_the_same_stay_on_one_side(tmp_path, trained_here):
    texts = made_texts()
    write_corpus(tmp_path / "corpus", [*texts, *(text.upper() + " " for text in texts)])
    run(tmp_path, tmp_path / "corpus")

    sides = [set(map(content_hash, documents_of(tmp_path, s))) for s in ("train", "validation")]
    assert not sides[0] & sides[1]


def test_seed_decides_the_order_and_nothing_else(tmp_path, corpus, trained_here):
    found = {}
    for seed in (1, 2, 1):
        run(tmp_path, corpus, seed=seed)
        again = contents(tmp_path)
        assert found.setdefault(seed, again) == again

    assert found[1]["tokenizer.json"] == found[2]["tokenizer.json"]
    assert found[1]["train-00000.bin"] != found[2]["train-00000.bin"]
    orders = {seed: [] for seed in (1, 2)}
    for seed in orders:
        run(tmp_path, corpus, seed=seed)
        orders[seed] = documents_of(tmp_path, "train")
    assert orders[1] != orders[2]
    assert sorted(orders[1]) == sorted(orders[2])


def test_units_and_batches_change_no_byte(tmp_path, corpus, trained_here, request):
    run(tmp_path, corpus)
    whole = contents(tmp_path)
    request.getfixturevalue("small_units")
    run(tmp_path, corpus)

    assert contents(tmp_path) == whole


def test_killed_after_any_operation_it_ends_with_the_same_bytes(
    tmp_path, trained_here, small_units, killed_after
):
    corpus = write_corpus(tmp_path / "corpus", made_texts(9))
    run(tmp_path / "undisturbed", corpus)
    undisturbed = contents(tmp_path / "undisturbed")
    num_operations = 1
    folder = tmp_path / "1"
    while killed_after(num_operations, partial(run, folder, corpus)):
        run(folder, corpus)
        assert contents(folder) == undisturbed
        assert [path.name for path in folder.iterdir()] == ["shards"]
        num_operations += 1
        folder = tmp_path / str(num_operations)

    assert num_operations > 20


def test_stopped_at_any_check_it_goes_on_without_learning_again(
    tmp_path, corpus, trained_here, small_units
):
    whole = Told()
    run(tmp_path / "undisturbed", corpus, progress=whole)
    learning = 1 + 1  # the check in the survey, then the one of `trained_here`
    for number in range(1, whole.num_checks + 1):
        folder = tmp_path / str(number)
        with pytest.raises(Interrupted):
            run(folder, corpus, progress=Told(end_at=number))
        assert not (folder / "shards").exists()
        trained_here.clear()
        run(folder, corpus)

        assert len(trained_here) == (number <= learning)
        assert contents(folder) == contents(tmp_path / "undisturbed")


def test_finished_units_are_taken_up(tmp_path, corpus, trained_here, small_units, monkeypatch):
    whole = Told()
    run(tmp_path / "undisturbed", corpus, progress=whole)
    with pytest.raises(Interrupted):
        run(tmp_path, corpus, progress=Told(end_at=whole.num_checks))
    units = list((tmp_path / f".work-shards-{_key()[:8]}" / "units").glob("encoded-*.bin"))
    assert len(units) > 2

    monkeypatch.setattr(stage, "_encode", lambda *_: pytest.fail("encoded again"))
    run(tmp_path, corpus)
    assert contents(tmp_path) == contents(tmp_path / "undisturbed")


def _key():
    return Identity("shards", {"seed": 1, **PLAN.model_dump(mode="json")}).key


def test_vocabulary_larger_than_the_text_gives(tmp_path, trained_here):
    corpus = write_corpus(tmp_path / "corpus", ["abab abab", "abab abab abab"])
    told = Told()

    counts = run(
        tmp_path, corpus, PLAN.model_copy(update={"vocab_size": 5000}), progress=told
    ).counts

    assert counts["vocab_size"] < 270
    assert told.warnings == [
        f"the text gives a vocabulary of {counts['vocab_size']} entries, not of 5,000: no other "
        "pair of tokens occurs 2 times"
    ]


def test_literal_special_tokens_are_told_and_stay_text(tmp_path, corpus, trained_here):
    told = Told()
    run(tmp_path, corpus, progress=told)

    assert told.warnings == [
        f"{END_OF_TEXT} stands in the text 3 times and is encoded as the characters that it "
        "consists of"
    ]
    everything = documents_of(tmp_path, "train") + documents_of(tmp_path, "validation")
    assert made_texts()[-2] in everything


def test_one_long_document_has_its_end_held_out(tmp_path, trained_here):
    lines = [f"line {number} of the book 书\n" for number in range(100)]
    corpus = write_corpus(tmp_path / "corpus", ["".join(lines)])
    told = Told()

    plan = PLAN.model_copy(update={"vocab_size": 260})
    counts = run(tmp_path, corpus, plan, progress=told).counts

    assert told.warnings == [
        "the corpus is one document; its end, 20.0%, is held out for validation"
    ]
    assert counts["train_documents"] == counts["validation_documents"] == 1
    assert documents_of(tmp_path, "train") == ["".join(lines[:80])]
    assert documents_of(tmp_path, "validation") == ["".join(lines[80:])]


def test_one_document_without_lines_is_cut_between_characters(tmp_path, trained_here):
    corpus = write_corpus(tmp_path / "corpus", ["世界" * 50])
    run(tmp_path, corpus)

    assert documents_of(tmp_path, "validation") == ["世界" * 10]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        pytest.param([], "the corpus holds no documents", id="none"),
        pytest.param(["a"], "one document of 1 characters, too short to set", id="a short one"),
        pytest.param(["Same text", "same  TEXT"], "holds one text 2 times", id="twice the same"),
    ],
)
def test_refuses_too_few_documents(tmp_path, texts, message):
    corpus = write_corpus(tmp_path / "corpus", texts)

    with pytest.raises(DataError, match=message) as refusal:
        run(tmp_path, corpus)
    assert refusal.value.exit_code == 65
    assert read_manifest(tmp_path / "shards") is None


def test_refuses_a_missing_corpus(tmp_path):
    with pytest.raises(MissingInputError, match="no corpus here"):
        run(tmp_path, tmp_path / "corpus")


@pytest.mark.parametrize("max_bytes", [0, 1000, 25_000, 99_999])
def test_training_text_is_bounded_and_from_everywhere(max_bytes):
    texts = ["世界\n" * 1000, "word\n" * 10_000, "another\n" * 5000]
    num_bytes = sum(len(text.encode()) for text in texts)

    passages = list(evenly_taken(texts, num_bytes, max_bytes))

    taken = sum(len(passage.encode()) for passage in passages)
    assert taken <= max_bytes
    assert taken > max_bytes - 13_000
    if max_bytes >= 25_000:
        assert {passage[0] for passage in passages} >= {"w", "a"}


def test_all_training_text_is_taken_where_it_may_be():
    texts = ["世界\n" * 3000, "", "word\n"]
    num_bytes = sum(len(text.encode()) for text in texts)

    assert "".join(evenly_taken(texts, num_bytes, num_bytes)) == "".join(texts)


def test_tokenizer_is_the_one_of_the_shards_in_hugging_face_format(tmp_path, corpus, trained_here):
    run(tmp_path, corpus)
    state = json.loads((tmp_path / "shards" / "tokenizer.json").read_text(encoding="utf-8"))

    assert state["model"]["type"] == "BPE"
    assert state["added_tokens"][0]["content"] == END_OF_TEXT


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, "a conversation"),
        ({"pair": {}}, "a pair"),
    ],
)
def test_a_corpus_of_something_else_than_texts_is_refused(tmp_path, fields, what):
    documents = [Document(f"d{number}", "in.jsonl", "en", "", {}, **fields) for number in range(3)]
    made_corpus.write_corpus(tmp_path / "corpus", documents)

    with pytest.raises(DataError, match=rf"document d0 of in\.jsonl is {what}; only a corpus of"):
        run(tmp_path, tmp_path / "corpus")
