"""From a recipe's files to what is left of a document."""

import pytest

from llmctl.core.artifacts.evaluation_items import evaluation_sources
from llmctl.core.clean_plan import DecontaminationPlan
from llmctl.core.cleaning.decontamination import decontaminate, load_evaluation_index
from llmctl.core.errors import DataError

QUESTION = "Betty is saving money for a new wallet which costs one hundred dollars in all"


@pytest.fixture
def index(tmp_path):
    (tmp_path / "test.jsonl").write_text('{"question": "%s"}\n{"answer": "Yes"}\n' % QUESTION)  # noqa: UP031
    plan = DecontaminationPlan(files=("test.jsonl",))
    return load_evaluation_index(plan, evaluation_sources(plan.files, tmp_path))


def test_drops_or_cuts(index):
    text = f"Before. {QUESTION}! Yes."
    dropped = decontaminate(index, text, "drop")
    cut = decontaminate(index, text, "cut")

    assert dropped is not None
    assert cut is not None
    assert dropped.text is None
    assert cut.text == "Before. Yes."
    assert [(hit.item, hit.matched) for hit in cut.hits] == [("test.jsonl:1", QUESTION)]
    assert dropped.hits == cut.hits


def test_a_document_of_hits_only_is_dropped(index):
    found = decontaminate(index, f"\n{QUESTION}\n", "cut")

    assert found is not None
    assert found.text is None


def test_others_are_left_alone(index):
    assert decontaminate(index, "Yes, Betty is saving money.", "cut") is None


def test_lengths_are_the_plans(tmp_path):
    (tmp_path / "e.txt").write_text("one two three four\n甲乙丙丁戊")
    plan = DecontaminationPlan(files=("e.txt",), ngram_words=3, ngram_characters=4)
    index = load_evaluation_index(plan, evaluation_sources(plan.files, tmp_path))

    assert len(index.find("two three four. 乙丙丁戊")) == 2
    assert index.find("three four. 丙丁戊") == []


def test_refuses_a_file_without_items(tmp_path):
    (tmp_path / "e.txt").write_text("\n")
    plan = DecontaminationPlan(files=("e.txt",))

    with pytest.raises(DataError, match="nothing to look for"):
        load_evaluation_index(plan, evaluation_sources(plan.files, tmp_path))
