"""card: the ten lines at the end of a run."""

from __future__ import annotations

import ast
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from llmctl.core.summary import Summary
from llmctl.terminal.card import SAMPLE_CHARACTERS, card_lines, print_card

SUMMARY = Summary(
    name="快速",
    seconds=123.4,
    model=Path("runs/快速/model"),
    report=Path("runs/快速/report"),
    model_counts={
        "parameters": 1234567,
        "steps": 400,
        "tokens": 3276800,
        "tokens_per_second": 30000,
    },
    report_counts={
        "bits_per_byte": 2.3456,
        "xz_bits_per_byte": 3.4567,
        "xz_primed_bits_per_byte": 2.0,
    },
    samples=(("The world is", " 很大\nand \x1b[2J[b]round[/x]"), ("second", " unused")),
)


def test_ten_lines_by_hand(capsys):
    print_card(SUMMARY)

    captured = capsys.readouterr()
    assert captured.err == ""
    assert [line.strip() for line in captured.out.splitlines()] == [
        "快速: 1,234,567 parameters",
        "bits per byte  2.346 on the validation split; xz -9 alone 3.457, "
        "primed with the training text 2.000",
        r"sample  The world is 很大 ⏎ and \x1b[2J[b]round[/x]",
        "training  400 steps, 3,276,800 tokens, 30,000 tokens/s",
        "time  123 s in all",
        "model  runs/快速/model   report: runs/快速/report/report.html",
        "next  llmctl generate 'The world is' -m 'runs/快速/model'",
        "llmctl eval -m 'runs/快速/model' --data YOUR_TEXT.txt",
        "from transformers import pipeline",
        'print(pipeline("text-generation", "runs/快速/model")("The world is", max_new_tokens=40))',
    ]


def test_without_the_comparison_with_xz_it_is_left_out():
    card = dict(card_lines(replace(SUMMARY, report_counts={"bits_per_byte": 2.0})))

    assert card["bits per byte"] == "2.000 on the validation split"


def test_a_long_sample_is_cut_to_one_line(capsys):
    print_card(replace(SUMMARY, samples=(("长", "x" * 1000),)))

    out = capsys.readouterr().out
    assert len(out.splitlines()) == 10
    assert "长" + "x" * (SAMPLE_CHARACTERS - 1) + "…\n" in out


@pytest.mark.parametrize("prompt", ['it\'s "$HOME" `x`', "你 好", "a\nb", "back\\slash"])
def test_the_next_commands_can_be_pasted_whatever_the_prompt(prompt):
    summary = replace(SUMMARY, samples=((prompt, ""),), model=Path("runs/a b/model"))

    commands = [text for _, text in card_lines(summary)][-4:]

    assert shlex.split(commands[0]) == ["llmctl", "generate", prompt, "-m", "runs/a b/model"]
    calls = [node for node in ast.walk(ast.parse(commands[3])) if isinstance(node, ast.Constant)]
    assert {call.value for call in calls} == {"text-generation", "runs/a b/model", prompt, 40}
