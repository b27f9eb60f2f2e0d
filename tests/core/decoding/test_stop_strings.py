"""Stop strings by example, then independence of how the text was cut into pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmctl.core.decoding.stop_strings import StopStrings
from llmctl.core.errors import UsageError


def through(stops, pieces):
    stopper = StopStrings(stops)
    out = [stopper.push(piece) for piece in pieces]
    return [*out, stopper.finish()], stopper.found


@pytest.mark.parametrize(
    ("stops", "pieces", "expected", "found"),
    [
        pytest.param([], ["ab", "c"], ["ab", "c", ""], None, id="none: nothing is held"),
        pytest.param(["\n"], ["ab\ncd", "ef"], ["ab", "", ""], "\n", id="inside a piece"),
        pytest.param(["###"], ["a#", "#", "#b"], ["a", "", "", ""], "###", id="across pieces"),
        pytest.param(["###"], ["a##", "b"], ["a", "##b", ""], None, id="begun, then not"),
        pytest.param(["###"], ["a##"], ["a", "##"], None, id="begun, then the end"),
        pytest.param(["。答", "句"], ["你好。", "答案"], ["你好", "", ""], "。答", id="Chinese"),
        pytest.param(["abc", "b"], ["xa", "bc"], ["x", "a", ""], "b", id="completed first wins"),
        pytest.param(["bc", "abc"], ["xabc"], ["x", ""], "abc", id="the longer of a tie wins"),
        pytest.param(["aab"], ["aaa", "b"], ["a", "", ""], "aab", id="overlapping beginnings"),
    ],
)
def test_lets_through_what_comes_before(stops, pieces, expected, found):
    assert through(stops, pieces) == (expected, found)


letters = st.text(alphabet="ab水", max_size=12)


@given(
    pieces=st.lists(letters, max_size=6),
    stops=st.lists(st.text(alphabet="ab水", min_size=1, max_size=4), max_size=3),
)
@settings(max_examples=200, deadline=None)
def test_does_not_depend_on_the_cuts(pieces, stops):
    text = "".join(pieces)
    emitted, found = through(stops, pieces)

    assert ("".join(emitted), found) == ("".join(through(stops, list(text))[0]), found)
    assert not any(stop in "".join(emitted) for stop in stops)
    assert (found is None) == (not any(stop in text for stop in stops))
    if found is not None:
        assert text.startswith("".join(emitted) + found)


def test_an_empty_stop_string_is_refused():
    with pytest.raises(UsageError, match="a stop string is empty"):
        StopStrings(["a", ""])
