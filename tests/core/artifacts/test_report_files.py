"""The four files of a report, and its Markdown."""

from __future__ import annotations

import json

import pytest

from llmctl.core.artifacts.html_report import Page
from llmctl.core.artifacts.report import markdown_table, write_report
from llmctl.core.errors import OutputError


def write(directory):
    write_report(
        directory,
        {"bits_per_byte": 0.1 + 0.2, "name": "测试"},
        markdown="# 测试\n",
        page=Page("测试"),
        samples=[{"text": "第一行\n第二行"}, {"text": "b"}],
    )


def test_writes_what_can_be_read_back(tmp_path):
    write(tmp_path)

    figures = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert figures == {"bits_per_byte": 0.1 + 0.2, "name": "测试"}
    rows = (tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["text"] for row in rows] == ["第一行\n第二行", "b"]
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == "# 测试\n"
    assert "<title>测试</title>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 4


def test_names_a_place_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match=r"file/report\.json: cannot be created"):
        write(tmp_path / "file")


def test_table_by_hand():
    table = markdown_table(("file", "bytes"), [("a|b*c", "1"), ("第\n一", "2")])

    assert table == "| file | bytes |\n| --- | ---: |\n| a\\|b\\*c | 1 |\n| 第 一 | 2 |\n"


def test_table_refuses_a_row_that_does_not_fit():
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        markdown_table(("a", "b"), [("1",)])
