"""python-docs: reST and signatures by hand, then what every Python must give."""

import ast
import sys

import pytest

from llmctl.core.artifacts import python_docs
from llmctl.core.artifacts.python_docs import plain, python_documents


@pytest.fixture(scope="module")
def documents():
    return python_documents()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("The if\n******\n\nText", "The if\n\nText", id="underline"),
        pytest.param("a *raw string* and **bold**.", "a raw string and bold.", id="emphasis"),
        pytest.param(
            "f(*args, **kwargs) * 2 * 3", "f(*args, **kwargs) * 2 * 3", id="stars in code"
        ),
        pytest.param("   x = *a* b", "x = *a* b", id="code is left alone"),
        pytest.param("| *x* | 1 |", "| *x* | 1 |", id="a table is left alone"),
        pytest.param("see :class:`Foo` and :meth:`~a.b`", "see Foo and a.b", id="roles"),
        pytest.param("namespace.  [1]\nMore [2].", "namespace.\nMore.", id="footnote marks"),
        pytest.param("x[1] and [1, 2]", "x[1] and [1, 2]", id="indices stay"),
    ],
)
def test_plain(text, expected):
    assert plain(text) == expected


SOURCE = '''
"""A module that shows everything."""

def add(a, /, b=1, *rest, c: int = 2, **more):
    """Return the sum of all the arguments."""

def _private():
    """Is not shown at all, being private."""

class Thing(Base):
    """A thing with a method and a property."""
    def __init__(self, size, *, colour="red"):
        """Make a thing of the given size."""
    @property
    def size(self):
        """How large it is, in metres."""
    @staticmethod
    def make(size):
        """Make a thing without knowing its class."""
    @classmethod
    def read(cls, /, path):
        """Read a thing from a file at the path."""
    def short(self):
        """No."""
'''


def test_what_is_said_of_a_module():
    groups = {
        name: list(pieces) for name, pieces in python_docs._source_pieces("m", ast.parse(SOURCE))
    }

    assert groups["Thing"] == [
        ("class m.Thing(size, *, colour='red')", "A thing with a method and a property."),
        ("Thing.__init__(size, *, colour='red')", "Make a thing of the given size."),
        ("Thing.size", "How large it is, in metres."),
        ("Thing.make(size)", "Make a thing without knowing its class."),
        ("Thing.read(path)", "Read a thing from a file at the path."),
    ]
    functions = [
        piece
        for name, pieces in python_docs._source_pieces("m", ast.parse(SOURCE))
        if not name
        for piece in pieces
    ]
    assert functions == [
        ("m\n", "A module that shows everything."),
        ("m.add(a, /, b=1, *rest, c: int=2, **more)", "Return the sum of all the arguments."),
    ]


@pytest.mark.parametrize(
    ("value", "signature"),
    [
        pytest.param(len, "(obj, /)", id="function"),
        pytest.param(str.split, "(sep=None, maxsplit=-1)", id="method"),
        pytest.param(max, "", id="only the docstring tells"),
    ],
)
def test_signature_of_what_is_written_in_c(value, signature):
    assert python_docs._signature(value) == signature


def test_a_signature_that_fails_is_left_out(monkeypatch):
    # As that of select.epoll does in Python 3.13.
    monkeypatch.setattr(python_docs.inspect, "signature", lambda _: "".no_such_attribute)

    assert python_docs._signature(len) == ""


def test_short_texts_are_merged_with_their_neighbours():
    entries = [("a", "x" * 600), ("b", "y" * 1000), ("c", "z" * 600), ("d", "rest")]

    assert list(python_docs._merged(iter(entries))) == [
        ("b", "y" * 1000),
        ("a", "x" * 600 + "\n\n" + "z" * 600),
        ("d", "rest"),
    ]


def test_about_two_megabytes_in_documents_of_a_kilobyte_or_more(documents):
    sizes = [len(document.text) for document in documents]

    assert 1_400_000 < sum(sizes) < 3_000_000
    assert sum(size < python_docs.MIN_CHARACTERS for size in sizes) <= 2
    assert max(sizes) < 100_000


def test_holds_reference_topics_classes_and_signatures(documents):
    by_id = {document.id: document.text for document in documents}

    assert "json.dumps(obj, *, skipkeys=False" in by_id["python-docs/json"]
    assert by_id["python-docs/builtins.str"].startswith("class str\n")
    assert any(name.startswith("python-docs/topics/") for name in by_id)
    assert 'The "nonlocal" statement' in "".join(by_id.values())


def test_ids_are_unique_and_the_order_is_always_the_same(documents):
    again = python_documents()

    assert documents == again
    assert len({document.id for document in documents}) == len(documents)


def test_no_markup_no_addresses_no_foreign_modules(documents):
    for document in documents:
        assert " at 0x7" not in document.text, document.id
        assert "\n****" not in document.text, document.id
        assert not document.id.startswith(("python-docs/test", "python-docs/idlelib"))
        assert document.text == document.text.strip()


def test_parsing_imports_no_module_of_the_library(documents):
    assert documents
    assert "turtledemo" not in sys.modules
    assert "antigravity" not in sys.modules


def test_a_python_without_topics_still_works(monkeypatch):
    with_topics = python_docs.digest()
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    monkeypatch.setattr(python_docs, "_library_entries", lambda: iter([("m", "x" * 1000)]))

    assert [document.id for document in python_documents()] == ["python-docs/m"]
    assert python_docs.digest() != with_topics
