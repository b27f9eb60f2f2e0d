"""Findings on stdout: tables, the map of attention aligned and folded, nothing that steers."""

from __future__ import annotations

import numpy as np
import pytest
from rich.cells import cell_len

from llmctl.core.language_model.inspection import AttentionMap, Inspection, NextToken, TokenFigures
from llmctl.core.language_model.neighbours import Neighbour, Neighbourhood
from llmctl.core.stages.inspect import Findings
from llmctl.terminal.inspection import map_lines, power, print_findings, summary

TOKENS = [
    TokenFigures(7, "[b]世", -0.5, 1, 2.0, -0.5),
    TokenFigures(9, " \x1b\n", -1.5, 1234, 2.5, -2.0),
]
FOUND = Inspection("[b]世 \x1b\n", 9, "<s>", TOKENS)


@pytest.fixture
def printed(capsys):
    def run(**findings):
        print_findings(Findings(**findings))
        captured = capsys.readouterr()
        assert captured.err == ""
        return [line.split() for line in captured.out.splitlines()]

    return run


def test_a_row_a_token_and_the_whole_below(printed):
    assert printed(inspection=FOUND) == [
        ["token", "id", "log", "p", "p", "rank", "entropy", "log", "P"],
        ["[b]世", "7", "-0.500", "60.65%", "1", "2.000", "-0.500"],
        ["␣\\x1b⏎", "9", "-1.500", "22.31%", "1,234", "2.500", "-2.000"],
        ["log", "P", "=", "-2.000", "nats,", "P", "=", "0.1353,", "given", "<s>"],
        ["perplexity", "2.72,", "0.321", "bits", "per", "byte,", "2", "tokens,", "9", "bytes"],
    ]


def test_a_first_token_without_a_probability_says_so(printed):
    first = TokenFigures(7, "a", None, None, None, 0.0)

    lines = printed(inspection=Inspection("a", 0, None, [first]))

    assert lines[1] == ["a", "7", "0.000"]
    assert "as nothing predicts it" in " ".join(lines[2])
    assert len(lines) == 3  # no perplexity of nothing


@pytest.mark.parametrize(
    ("nats", "expected"),
    [(0.0, "1.0000"), (-4.605170186, "0.0100"), (-23.02585093, "1.00e-10"), (-2e4, "1.29e-8686")],
)
def test_probabilities_smaller_than_any_float(nats, expected):
    token = TokenFigures(0, "a", nats, 1, 0.0, nats)

    assert power(Inspection("a", 1, "<s>", [token])) == expected


def test_summary_names_what_begins_the_text_harmlessly():
    found = Inspection("a", 1, "\x1b", TOKENS)

    assert "given \\x1b" in summary(found)


@pytest.mark.parametrize("begin", ["<s>", None])
def test_candidates_stand_after_what_they_follow(printed, begin):
    step = (NextToken(9, "x", 0.75, 1.0, None), NextToken(8, "[/b]", 0.25, 0.0, "top_p"))
    tokens = TOKENS if begin else [TokenFigures(7, "[b]世", None, None, None, 0.0), TOKENS[1]]
    num_steps = len(tokens) + bool(begin)

    lines = printed(inspection=Inspection("t", 9, begin, tokens, [step] * num_steps))

    rows = lines[lines.index([]) + 2 :]
    names = [begin] if begin else []
    assert [row[0] for row in rows[::2]] == [*names, "[b]世", "␣\\x1b⏎"]
    assert rows[0][1:] == ["x", "9", "75.00%", "100.00%"]
    assert rows[1] == ["[/b]", "8", "25.00%", "top-p"]


def test_neighbours_of_a_mean(printed):
    near = Neighbour(3, " y", 0.5)

    lines = printed(neighbourhoods=[Neighbourhood(" xz", [" x", "z"], [1, 2], [near])])

    assert " ".join(lines[0]) == "␣xz: ␣x (1) z (2), the mean of its 2 tokens' embeddings"
    assert lines[2] == ["␣y", "3", "0.500"]


# ------------------------------------------------------------------ attention

PIECES = ["<s>", "世界", "e\u0301"]  # the last with a combining accent
WEIGHTS = [[1.0, 0.0, 0.0], [0.35, 0.65, 0.0], [0.005, 0.02, 0.975]]


def test_a_map_by_hand():
    assert list(map_lines(PIECES, WEIGHTS, None)) == [
        "     <",
        "     s 世",
        "     > 界e",
        "<s>  ██",
        "世界 ▓▓██",
        "e\u0301    · ░░██",
    ]


def test_columns_stand_below_their_heads_in_any_script():
    lines = list(map_lines(PIECES, WEIGHTS, None))

    starts = [cell_len(line[: line.index("██")]) for line in lines[3:]]
    assert starts == [5, 7, 9]
    assert cell_len(lines[1][: lines[1].index("世")]) == 7


@pytest.mark.parametrize("width", [1, 8, 9, 20])
def test_a_wide_map_is_folded_and_loses_nothing(width):
    lines = list(map_lines(PIECES, WEIGHTS, width))

    assert all(cell_len(line) <= max(width, 7) for line in lines)
    shades = [character for line in lines for character in line if character in "█▓▒░·"]
    assert sorted(shades) == sorted("██▓▓██·░░██")


def test_long_names_are_cut_to_their_room():
    lines = list(map_lines(["人" * 30, "b"], [[1.0, 0.0], [0.5, 0.5]], None))

    assert lines[-2].startswith("人" * 7 + "…")
    assert len(lines) == 8 + 2  # eight characters of a head, two rows
    assert {cell_len(line[: line.index("█")]) for line in lines[-2:-1]} == {17}


def test_the_mean_of_the_heads_is_shown(printed):
    weights_HTT = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]], dtype=np.float32)

    lines = printed(attention=AttentionMap(["a", "[b]"], 1, [0, 1], weights_HTT))

    assert " ".join(lines[0]).startswith("layer 1, mean of 2 heads; from:")
    assert lines[-1] == ["[b]", "▓▓▓▓"]
