"""Text and numbers as they stand in a page."""

from __future__ import annotations

import pytest

from llmctl.core.artifacts.html_text import escape, number, share_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param('<a href="x">\'&', "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;", id="markup"),
        pytest.param("人工\n\t智能 𠮷", "人工\n\t智能 𠮷", id="Chinese, lines and tabs stay"),
        pytest.param("\x00\x1b[0m\x7f\r\x85", "\\x00\\x1b[0m\\x7f\\x0d\\x85", id="controls"),
        pytest.param("\ud800\ufffe", "\ufffd\ufffd", id="no characters"),
    ],
)
def test_escape(text, shown):
    assert escape(text) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.0, "0"),
        (2.08449, "2.084"),
        (25.314, "25.31"),
        (250.26, "250.3"),
        (12345.6, "12,346"),
        (0.0021, "0.0021"),
        (3.1e-7, "3.1e-07"),
        (-2.5, "-2.500"),
        (float("inf"), "inf"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0"),
        (0.0004, "<\u00a00.1"),
        (0.001, "0.1"),
        (0.12345, "12.3"),
        (0.5, "50"),
        (0.9995, ">\u00a099.9"),
        (1, "100"),
    ],
)
def test_a_share_is_never_rounded_to_nothing_or_all(share, text):
    assert share_text(share) == f"{text}\u00a0%"
