"""tables: a row a stage, a run, a figure; never folded or cut for a program that reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmctl.core.pipeline import StageState
from llmctl.terminal.tables import print_runs, print_scores, print_states


@pytest.fixture
def lines(capsys):
    def read() -> list[str]:
        captured = capsys.readouterr()
        assert captured.err == ""
        return [line.rstrip() for line in captured.out.splitlines()]

    return read


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_row_a_stage_with_its_reasons(lines):
    states = [
        StageState("clean", Path("corpus"), "up to date"),
        StageState("train", Path("model"), "stale", ("train.steps: 5 → 6", "[/x] 变了")),
    ]

    print_states(states, None)

    assert [cells(line) for line in lines()] == [
        ["stage", "status", "why"],
        ["clean", "up to date"],
        ["train", "stale", "train.steps: 5 → 6; [/x] 变了"],
    ]


def test_who_works_on_the_run_is_said_below(lines):
    print_states([], "process 5 (llmctl train [b]x[/c])")

    assert lines()[-1] == "in use by process 5 (llmctl train [b]x[/c])"


def test_long_reasons_are_neither_folded_nor_cut(lines):
    reason = "原因" * 400

    print_states([StageState("eval", Path("r"), "damaged", (reason,))], None)

    assert reason in lines()[1]


def run(**changes):
    return {
        "run": "跑[/x]",
        "artifacts": ["corpus", "model"],
        "parameters": 1234567,
        "bits_per_byte": 2.34567,
        "created": "2026-01-01",
        "holder": None,
        "unfinished_step": None,
    } | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {}, ["跑[/x]", "corpus model", "1,234,567", "2.346", "2026-01-01"], id="a finished run"
        ),
        pytest.param(
            {"holder": "x", "unfinished_step": 5},
            [
                "跑[/x]",
                "corpus model",
                "1,234,567",
                "2.346",
                "2026-01-01",
                "in use stopped at step 5",
            ],
            id="one at work",
        ),
        pytest.param(
            {"parameters": None, "bits_per_byte": None, "created": None, "unfinished_step": 5},
            ["跑[/x]", "corpus model", "stopped at step 5"],
            id="one without a model",
        ),
    ],
)
def test_a_row_a_run(lines, changes, expected):
    print_runs([run(**changes)], Path("runs"))

    header, row = lines()
    assert cells(header) == ["run", "has", "parameters", "bits/byte", "made", "now"]
    assert cells(row) == expected


def test_where_there_are_no_runs_it_says_how_to_begin(lines):
    print_runs([], Path("跑/runs"))

    assert lines() == ["no runs in 跑/runs; begin with: llmctl run quickstart"]


def test_a_row_a_figure_by_its_path(lines):
    print_scores(
        {
            "bits_per_byte": 2.34567,
            "tokens": 12345,
            "interval": [1.5, 2.5],
            "validation": {"loss": 1.0, "deep": {"名字": "[/x]值"}},
            "files": [{"path": "甲"}, {"path": "乙"}, "skipped"],
            "complete": True,
            "absent": None,
        }
    )

    assert [cells(line) for line in lines()] == [
        ["figure", "value"],
        ["bits per byte", "2.346"],
        ["tokens", "12,345"],
        ["interval", "1.5 … 2.5"],
        ["validation · loss", "1"],
        ["validation · deep · 名字", "[/x]值"],
        ["files 1 · path", "甲"],
        ["files 2 · path", "乙"],
        ["complete", "True"],
    ]


def test_on_a_terminal_long_cells_are_folded_and_none_of_them_lost(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")

    print_states([StageState("eval", Path("r"), "damaged", ("x" * 200,))], None)

    out = capsys.readouterr().out
    assert out.count("x") == 200
    assert max(line.count("x") for line in out.splitlines()) < 60
