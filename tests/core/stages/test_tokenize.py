"""tokenize: nothing lost, splits by content, the same bytes whatever happens on the way."""

from __future__ import annotations

import json
import random
import re
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
from llmctl.core.errors import DataError, Interrupted, MissingInputError, RecipeError
from llmctl.core.manifest import Identity, read_manifest
from llmctl.core.progress import Progress
from llmctl.core.stages.tokenize import tokenize
from llmctl.core.text.splitting import content_hash
from llmctl.core.tokenize_plan import TokenizePlan, TokenMix
from llmctl.core.tokenizing import corpus_units, tokenizer_making, unit_encoding
from llmctl.core.tokenizing.corpus_units import UnitJob
from llmctl.core.tokens.tokenizer import Tokenizer
from llmctl.core.tokens.tokenizer_training import END_OF_TEXT, TrainingRequest
from llmctl.core.tokens.tokenizer_training import train as train_here
from llmctl.core.work_settings import WorkSettings
from llmctl.core.workspace import Workspace

PLAN = TokenizePlan(vocab_size=300, validation_share=0.2, shard_tokens=300)
NUM_UNITS = 7
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
    corpora = corpus if isinstance(corpus, list) else [corpus]
    settings = WorkSettings(base=folder)
    return tokenize(
        plan, corpora, space, seed=seed, settings=settings, progress=progress or Progress()
    )


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


def texts_in(paths):
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


@pytest.fixture
def trained_here(monkeypatch):
    """Learn tokenizers in this process, which is quicker; tells how many were learnt."""
    learnt = []

    def train(texts, request, directory, target, *, progress):
        learnt.append(target)
        progress.check()
        backend = train_here(texts_in(texts), request)
        atomic.write_file(target, backend.to_str(pretty=True).encode() + b"\n")

    monkeypatch.setattr(tokenizer_making, "train_in_child", train)
    return learnt


@pytest.fixture
def small_units(monkeypatch):
    monkeypatch.setattr(corpus_units, "MAX_UNIT_BYTES", 600)
    monkeypatch.setattr(unit_encoding, "BATCH_CHARACTERS", 200)
    monkeypatch.setattr(unit_encoding, "LONG_TEXT_CHARACTERS", 60)
    monkeypatch.setattr(unit_encoding, "SEGMENT_CHARACTERS", 40)


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
        learnt_from.extend(texts_in(texts))
        target.write_bytes(train_here(learnt_from, TrainingRequest(300)).to_str().encode())

    monkeypatch.setattr(tokenizer_making, "train_in_child", train)
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
    # Two a unit while it is surveyed and while it is sampled, and the one of `trained_here`.
    learning = 4 * NUM_UNITS + 1
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
    units = list((tmp_path / f".work-shards-{_key()[:8]}" / "units").glob("*[0-9].npz"))
    assert len(units) == NUM_UNITS

    monkeypatch.setattr(UnitJob, "documents", lambda _: pytest.fail("encoded again"))
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
        f"the text gives a vocabulary of {counts['vocab_size']} entries, not of 5,000: nothing "
        "else occurs 2 times"
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


def test_tokenizer_is_the_one_of_the_shards_in_hugging_face_format(tmp_path, corpus, trained_here):
    run(tmp_path, corpus)
    state = json.loads((tmp_path / "shards" / "tokenizer.json").read_text(encoding="utf-8"))

    assert state["model"]["type"] == "BPE"
    assert state["added_tokens"][0]["content"] == END_OF_TEXT


def test_conversations_are_learned_where_the_assistant_speaks(tmp_path, trained_here):
    documents = [
        Document(
            f"d{number}",
            "聊.jsonl",
            "zh",
            "",
            {},
            messages=[
                {"role": "user", "content": f"问 {number} <|im_end|>"},
                {"role": "assistant", "content": f"答 {number}"},
            ],
        )
        for number in range(12)
    ]
    made_corpus.write_corpus(tmp_path / "corpus", [*documents, documents[0]])
    plan = PLAN.model_copy(update={"special_tokens": ("<|im_start|>", "<|im_end|>")})

    counts = run(tmp_path, tmp_path / "corpus", plan).counts

    shards = TokenShards.open(tmp_path / "shards")
    tokenizer = Tokenizer.from_file(shards.tokenizer_path)
    split = shards.split("train")
    assert (counts["content"], shards.content) == ("conversation", "conversation")
    assert counts["literal_special_tokens"] == 13
    start = 0
    for end in split.ends.tolist():
        ids, learned = split.tokens[start:end], split.masks[start:end].astype(bool)
        assert re.fullmatch(
            r"user\n问 (\d+) <\|im_end\|>\nassistant\n答 \1\n", tokenizer.decode(ids)
        )
        assert re.fullmatch(r"答 \d+", tokenizer.decode(ids[learned]))
        assert ids[learned].tolist()[-1] == tokenizer.id_of("<|im_end|>")
        assert tokenizer.piece(int(ids[-1])) == END_OF_TEXT
        start = end


def test_preferences_stay_together_and_are_counted(tmp_path, trained_here):
    documents = [
        Document(
            f"d{number}",
            "p",
            "en",
            "",
            {},
            pair={"prompt": f"p{number} ", "chosen": f"good {number}", "rejected": f"bad {number}"},
        )
        for number in range(12)
    ]
    made_corpus.write_corpus(tmp_path / "corpus", documents)

    counts = run(tmp_path, tmp_path / "corpus").counts

    assert counts["content"] == "preference"
    texts = documents_of(tmp_path, "train") + documents_of(tmp_path, "validation")
    assert len(texts) == 24
    for chosen, rejected in zip(texts[::2], texts[1::2], strict=True):
        assert chosen.replace("good", "bad") == rejected
    mixed = [*documents, Document("t", "p", "en", "a text", {})]
    made_corpus.write_corpus(tmp_path / "mixed", mixed)
    with pytest.raises(DataError, match="preferences by themselves"):
        run(tmp_path, tmp_path / "mixed")


def reused(tmp_path, texts, **changes):
    """A plan that takes a tokenizer which knows little."""
    backend = train_here(
        ["the world 世界"] * 9, TrainingRequest(290, special_tokens=("<|im_end|>",))
    )
    (tmp_path / "别人的.json").write_text(backend.to_str(), encoding="utf-8")
    write_corpus(tmp_path / "corpus", texts)
    plan = {"from": "别人的.json", "validation_share": 0.2, "shard_tokens": 300, **changes}
    return TokenizePlan.model_validate(plan)


def test_a_tokenizer_from_elsewhere_is_used_as_it_is(tmp_path):
    plan = reused(tmp_path, made_texts(), end_token="<|im_end|>")

    counts = run(tmp_path, tmp_path / "corpus", plan).counts

    shards = TokenShards.open(tmp_path / "shards")
    assert shards.tokenizer_path.read_bytes() == (tmp_path / "别人的.json").read_bytes()
    tokenizer = Tokenizer.from_file(shards.tokenizer_path)
    assert counts["vocab_size"] == tokenizer.vocab_size
    split = shards.split("train")
    assert set(split.tokens[:][split.ends - 1].tolist()) == {tokenizer.id_of("<|im_end|>")}
    everything = documents_of(tmp_path, "train") + documents_of(tmp_path, "validation")
    assert sorted(everything) == sorted(made_texts())


def test_special_tokens_are_meant_where_they_are_allowed(tmp_path):
    texts = [*(f"a {number}<|im_end|>b" for number in range(8)), "c<|endoftext|>"]
    plan = reused(tmp_path, texts, allow_special_tokens=["<|im_end|>"])
    told = Told()

    run(tmp_path, tmp_path / "corpus", plan, progress=told)

    shards = TokenShards.open(tmp_path / "shards")
    tokenizer = Tokenizer.from_file(shards.tokenizer_path)
    ids = [shards.split(name).tokens[:].tolist() for name in ("train", "validation")]
    assert sum(part.count(tokenizer.id_of("<|im_end|>")) for part in ids) == 8
    assert told.warnings == [
        f"{END_OF_TEXT} stands in the text 1 times and is encoded as the characters that it "
        "consists of"
    ]


def test_what_a_lossy_tokenizer_loses_is_refused_or_counted(tmp_path):
    plan = reused(tmp_path, ["ABC the", "the world", "world 世界", "a b"] * 3)
    state = json.loads((tmp_path / plan.from_).read_bytes())
    state["normalizer"] = {"type": "Lowercase"}
    (tmp_path / plan.from_).write_text(json.dumps(state), encoding="utf-8")
    told = Told()

    with pytest.raises(DataError, match=r"Lowercase changes texts; set tokenize\.allow_lossy"):
        run(tmp_path, tmp_path / "corpus", plan)
    lossy = plan.model_copy(update={"allow_lossy": True})
    run(tmp_path, tmp_path / "corpus", lossy, progress=told)

    assert any("3 of 12 documents do not come back whole" in warning for warning in told.warnings)


@pytest.mark.slow
def test_a_line_of_a_hundred_megabytes_comes_back(tmp_path):
    line = ("世界很大，我们的词语很多。The world is wide. " * 2_000_000)[:55_000_000]
    letters = "a" * 20_000_000
    plan = reused(tmp_path, [line, letters, "短"], validation_share=0.4)

    run(tmp_path, tmp_path / "corpus", plan)

    found = documents_of(tmp_path, "train") + documents_of(tmp_path, "validation")
    assert sorted(found) == sorted([line, letters, "短"])


def test_ids_beyond_65535_are_wide(tmp_path):
    backend = train_here(["a"], TrainingRequest(257))
    backend.add_special_tokens([f"<|{number}|>" for number in range(65_400)])
    (tmp_path / "wide.json").write_text(backend.to_str(), encoding="utf-8")
    write_corpus(tmp_path / "corpus", [f"{number} <|65399|>" for number in range(9)])
    plan = TokenizePlan.model_validate(
        {"from": "wide.json", "allow_special_tokens": ["<|65399|>"], "validation_share": 0.2}
    )

    counts = run(tmp_path, tmp_path / "corpus", plan).counts

    assert counts["dtype"] == "uint32"
    assert TokenShards.open(tmp_path / "shards").split("train").tokens[:].max() == 257 + 65_399


def test_corpora_are_mixed_by_weight_and_told(tmp_path, trained_here):
    one = write_corpus(tmp_path / "散文" / "corpus", made_texts(30))
    two = write_corpus(tmp_path / "诗", [f"{text}!" for text in made_texts(90, seed=8)])
    plan = PLAN.model_copy(
        update={"mix": {"散文": TokenMix(weight=1), "诗": TokenMix(weight=1, epochs=1)}}
    )

    run(tmp_path, [one, two], plan)

    report = json.loads((tmp_path / "shards" / "report.json").read_bytes())
    first, second = report["mix"]
    assert (first["corpus"], first["epochs"]) == ("散文", 1.0)
    assert second["epochs"] == pytest.approx(first["tokens"] / second["tokens"], rel=0.01)
    assert second["used_tokens"] == pytest.approx(first["used_tokens"], rel=0.25)
    rows = parquet.read_table(tmp_path / "shards" / "documents.parquet").to_pylist()
    held_out = sum(row["split"] == "validation" for row in rows)
    assert held_out == report["splits"]["validation"]["documents"]


def test_what_training_sees_again_is_told(tmp_path, trained_here):
    words = " ".join(f"word{number}" for number in range(300))
    texts = [*made_texts(), *(f"{words} {number}" for number in range(8))]
    write_corpus(tmp_path / "corpus", texts)
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": words}) + "\n", encoding="utf-8")
    plan = PLAN.model_copy(update={"evaluation_files": ("test.jsonl",), "validation_share": 0.4})
    told = Told()

    run(tmp_path, tmp_path / "corpus", plan, progress=told)

    leaks = json.loads((tmp_path / "shards" / "report.json").read_bytes())["leaks"]
    assert [leak["against"] for leak in leaks] == ["validation", "test.jsonl"]
    assert leaks[0]["found"] >= 1
    assert (leaks[1]["checked"], leaks[1]["found"]) == (1, 1)
    assert any("1 of 1 items of test.jsonl are in the training split" in w for w in told.warnings)


def test_sizes_and_other_tokenizers_are_compared(tmp_path, trained_here):
    plan = reused(tmp_path, made_texts(60))
    plan = TokenizePlan(
        vocab_size=280, vocab_sizes=(257, 300), compare=(plan.from_,), validation_share=0.3
    )

    run(tmp_path, tmp_path / "corpus", plan)

    report = json.loads((tmp_path / "shards" / "report.json").read_bytes())
    assert [point["vocab_size"] for point in report["vocabulary_curve"]] == [257, 280, 300]
    english = [point["bytes_per_token"]["en"] for point in report["vocabulary_curve"]]
    assert english[0] == 1.0
    assert english == sorted(english)
    assert [row["name"] for row in report["comparison"]] == ["this one", "别人的.json"]
    assert TokenShards.open(tmp_path / "shards").vocab_size == 280


@pytest.mark.parametrize(
    ("plan", "error", "message"),
    [
        ({"from": "none.json"}, MissingInputError, "none.json"),
        ({"end_token": "<|none|>"}, RecipeError, r"end_token.*'<\|none\|>'"),
        ({"training_shares": {"ja": 0.5}}, RecipeError, "no text in ja"),
        ({"mix": {"none": {"weight": 1}}}, RecipeError, "none"),
        ({"vocab_size": 257, "special_tokens": ["<|a|>"]}, RecipeError, "vocab_size: expected"),
        ({"special_tokens": ["a"]}, RecipeError, "special_tokens: 'a'"),
        ({"allow_special_tokens": ["<|a|>"]}, RecipeError, r"allow_special_tokens: <\|a\|>"),
        ({"evaluation_files": ["none"]}, MissingInputError, "none"),
    ],
)
def test_refuses_a_plan_that_does_not_fit(tmp_path, corpus, trained_here, plan, error, message):
    with pytest.raises(error, match=message):
        run(tmp_path, corpus, TokenizePlan.model_validate(plan))
    assert read_manifest(tmp_path / "shards") is None
