"""A document's account on stdout: plain, whole, and nothing that steers the terminal."""

from __future__ import annotations

from llmctl.core.artifacts.corpus_search import FoundLine
from llmctl.core.stages.inspect_document import DocumentFindings
from llmctl.core.text.quality import Finding
from llmctl.terminal.document_findings import TEXT_CHARACTERS, print_documents

RECORD = {
    "id": "[b]诗:1",
    "source": "诗\x1b[31m",
    "language": "zh",
    "text": "天地\x1b玄黄\n" * 500,
    "meta": {},
}
RULES = (Finding("min_words", 12, 50, False), Finding("max_share", 0.2574, 0.3, True))


def test_a_dropped_duplicate(capsys):
    why = {"rule": "near_duplicate", "value": 0.91, "threshold": 0.8}
    record = {**RECORD, **why, "duplicate_of": "诗:0", "cluster": "诗:7"}

    print_documents([DocumentFindings(FoundLine("dropped-00000.jsonl.zst", record), RULES)])

    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert lines[:7] == [
        ["id", "[b]诗:1"],
        ["dropped", "by", "near_duplicate:", "0.91,", "threshold", "0.8"],
        ["lies", "in", "dropped-00000.jsonl.zst"],
        ["duplicate", "of", "诗:0"],
        ["cluster", "诗:7"],
        ["source", "诗\\x1b[31m"],
        ["language", "zh"],
    ]
    assert lines[-3:] == [
        ["rule", "value", "threshold"],
        ["min_words", "12", "50", "dropped"],
        ["max_share", "0.2574", "0.3", "passed"],
    ]
    assert "\x1b" not in out
    assert out.count("天地") == TEXT_CHARACTERS // 6


def test_two_kept_documents(capsys):
    record = {**RECORD, "text": "short", "meta": {"title": "题"}}
    found = DocumentFindings(FoundLine("documents-00000.jsonl.zst", record), ())

    print_documents([found, found])

    out = capsys.readouterr().out
    assert out.count("kept          documents-00000.jsonl.zst") == 2
    assert 'meta          {"title": "题"}' in out
    assert "short…" not in out
    assert "passed" not in out
