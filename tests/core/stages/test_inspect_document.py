"""A document's account: from the corpus's own recipe, kept or dropped; refusals."""

from __future__ import annotations

import json

import pytest
from made_corpus import write_corpus

from llmctl.core.artifacts.documents import Document
from llmctl.core.clean_plan import CleanPlan, QualityRules
from llmctl.core.errors import DataError, MissingInputError
from llmctl.core.manifest import Identity, write_manifest
from llmctl.core.stages.inspect_document import inspect_document
from llmctl.core.text.quality import Finding


@pytest.fixture
def corpus(tmp_path):
    plan = CleanPlan(profile="none", rules_by_language={"zh": QualityRules(min_characters=3)})
    verdict = {"rule": "min_characters", "value": 2, "threshold": 3}
    kept = Document("诗:1", "诗", "zh", "天地玄黄", {"n": 1})
    write_corpus(tmp_path, [kept], [(Document("诗:2", "诗", "zh", "天"), verdict)])
    write_manifest(tmp_path, Identity("corpus", plan.model_dump(mode="json")), {})
    return tmp_path


def test_a_kept_document_and_every_rule(corpus):
    [found] = inspect_document(corpus, "诗:1")

    assert found.line.is_kept
    assert found.rules == (Finding("min_characters", 8, 3, passed=True),)
    record = found.record()
    assert (record["kept"], record["file"]) == (True, "documents-00000.jsonl.zst")
    assert (record["text"], record["meta"]) == ("天地玄黄", {"n": 1})
    assert record["rules"] == [
        {"rule": "min_characters", "value": 8, "threshold": 3, "passed": True}
    ]


def test_a_dropped_document_and_why(corpus):
    [found] = inspect_document(corpus, "诗:2")

    record = found.record()
    assert (record["kept"], record["rule"], record["value"]) == (False, "min_characters", 2)
    assert [figure.passed for figure in found.rules] == [False]


def test_refuses_a_corpus_without_a_manifest(corpus):
    (corpus / "manifest.json").unlink()

    with pytest.raises(MissingInputError, match="no manifest"):
        inspect_document(corpus, "诗:1")


def test_refuses_a_recipe_of_another_version(corpus):
    path = corpus / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["plan"]["max_colour"] = 3
    path.write_text(json.dumps(manifest), encoding="utf-8")

    with pytest.raises(DataError, match="keys that this version does not know"):
        inspect_document(corpus, "诗:1")
