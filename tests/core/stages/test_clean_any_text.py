"""clean takes any text: nothing is lost, nothing raises, and what is clean stays as it is."""

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmctl.core.artifacts.corpus import read_corpus
from llmctl.core.artifacts.sources import resolve_sources
from llmctl.core.artifacts.streams import read_lines
from llmctl.core.clean_plan import (
    CleanPlan,
    DecontaminationPlan,
    DuplicatesPlan,
    PrivacyPlan,
)
from llmctl.core.errors import DataError
from llmctl.core.manifest import Identity
from llmctl.core.progress import Progress
from llmctl.core.stages.clean import clean
from llmctl.core.work_settings import WorkSettings
from llmctl.core.workspace import Workspace

QUESTION = "How many apples has Anna left when she has given five of twelve apples away?"
EVERYTHING = {
    "privacy": PrivacyPlan(action="replace"),
    "decontaminate": DecontaminationPlan(files=("questions.txt",), action="cut"),
    "duplicates": DuplicatesPlan(max_line_documents=2, min_line_characters=3),
}
PLANS = {
    "standard": {},
    "everything": EVERYTHING,
    "web": {"profile": "web", **EVERYTHING},
    "web-zh": {"profile": "web-zh", **EVERYTHING},
    "code": {"profile": "code", "privacy": PrivacyPlan(action="drop")},
    "none": {"profile": "none", "repair": False, "cut_wire_format": False},
}
PIECES = (
    "The man went to the market and bought bread, and the bread was good. ",
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    "ひらがなとカタカナと漢字の文です。",
    QUESTION,
    "邮箱是zhangsan@example.cn，手机13812345678。",
    '{"msg_type":"generate_answer_finish","data":""}',
    "data: [DONE]",
    "cafÃ© naÃ¯ve â€œquoteâ€\x9d",
    "\ud83d\ude00\ud800\udfff\ufeff\u200b\x00\x1b[31m",
    "\r\n\r\n\n\n\n\n",
    " " * 300,
    "- item\n" * 5,
    "{}[]()…...!?",
)
TEXTS = st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(exclude_categories=()), max_size=30),
    max_size=6,
).map("".join)


@contextmanager
def folder():
    path = Path(tempfile.mkdtemp())
    try:
        (path / "questions.txt").write_text(QUESTION, encoding="utf-8")
        yield path
    finally:
        shutil.rmtree(path)


def cleaned(base, records, **plan):
    """Clean records; return the counts, the kept documents and the dropped records."""
    lines = [json.dumps({"id": str(number), **record}) for number, record in enumerate(records)]
    (base / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    plan = CleanPlan(inputs=("in.jsonl",), max_unreadable=1.0, **plan)
    shutil.rmtree(base / "corpus", ignore_errors=True)
    space = Workspace(base / "corpus", Identity("corpus", plan.model_dump(mode="json")))
    manifest = clean(
        plan,
        resolve_sources(plan.inputs, base),
        space,
        settings=WorkSettings(1, base),
        progress=Progress(),
    )
    paths = (base / "corpus").glob("dropped-*.zst")
    dropped = [json.loads(line) for path in paths for line in read_lines(path)]
    return manifest.counts, list(read_corpus(base / "corpus")), dropped


@pytest.mark.parametrize("name", PLANS)
@given(texts=st.lists(TEXTS, min_size=1, max_size=6))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_kept_dropped_or_unreadable_once(name, texts):
    sound = {"text": "A sound text that every profile keeps, it is so. " * 12}
    with folder() as base:
        try:
            counts, kept, dropped = cleaned(
                base, [sound, *({"text": text} for text in texts)], **PLANS[name]
            )
        except DataError as error:
            if "no document is left" not in str(error):  # even the sound one is dropped
                raise
            return

    assert counts["documents"] == len(texts) + 1
    ids = [item.id for item in kept] + [item["id"] for item in dropped]
    assert len(ids) == len(set(ids)) == len(texts) + 1 - counts["unreadable"]
    assert counts["kept"] == len(kept)
    assert sum(counts["dropped"].values()) == len(dropped)
    for item in dropped:
        assert {"rule", "value", "threshold"} <= item.keys()
    for item in kept:
        assert item.text.strip()
        item.text.encode("utf-8")


@given(texts=st.lists(TEXTS, min_size=1, max_size=6))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_clean_is_cleaned_to_itself(texts):
    plan = {"privacy": PrivacyPlan(action="replace")}
    sound = {"text": "A sound text that is kept, it is so."}
    with folder() as base:
        _, once, _ = cleaned(base, [sound, *({"text": text} for text in texts)], **plan)
        _, twice, _ = cleaned(base, [{"text": item.text} for item in once], **plan)

    assert [item.text for item in twice] == [item.text for item in once]


@pytest.mark.slow  # its words need seconds to load
@given(texts=st.lists(TEXTS, min_size=1, max_size=6))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_through_fineweb(texts):
    pytest.importorskip("spacy")
    with folder() as base:
        sound = {"text": "All of it stays as it was, for nothing is looked at here."}
        try:
            counts, kept, dropped = cleaned(
                base, [sound, *({"text": text} for text in texts)], profile="fineweb"
            )
        except DataError as error:
            if "no document is left" not in str(error):
                raise
            return
    assert counts["documents"] == len(texts) + 1 == len(kept) + len(dropped) + counts["unreadable"]


UNTOUCHED = st.lists(
    st.sampled_from(
        [*PIECES[:5], "\u3000\u3000天。", "Æ·ß’“—…！？；", "가나다", "\n\nZwölf\n", "e\u0301"]
    ),
    min_size=1,
    max_size=5,
).map("".join)


@given(texts=st.lists(TEXTS | UNTOUCHED, min_size=1, max_size=6))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_text_that_nothing_touches_stays_byte_for_byte(texts):
    plan = {"profile": "none", "repair": False, "cut_wire_format": False}
    plan["duplicates"] = DuplicatesPlan(exact=False, similarity=None)
    texts = [text for text in texts if text.strip()]
    with folder() as base:
        _, kept, dropped = cleaned(
            base, [{"text": "sound"}, *({"text": text} for text in texts)], **plan
        )

    # JSON has no other way to hold half a surrogate pair than as U+FFFD in UTF-8.
    expected = [
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts
    ]
    assert [item.text for item in kept] == ["sound", *expected]
    assert dropped == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=8),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=4), values),
    max_leaves=6,
)
RECORDS = st.dictionaries(
    st.sampled_from(["text", "messages", "prompt", "completion", "id", "meta", "source", "x"]), JSON
)


@given(records=st.lists(RECORDS, min_size=1, max_size=6))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_record_is_kept_dropped_or_unreadable(records):
    with folder() as base:
        sound = {"id": "sound", "text": "A sound text that is kept, it is so."}
        counts, kept, dropped = cleaned(base, [sound, *records])

    assert counts["documents"] == len(records) + 1
    assert len(kept) + len(dropped) + counts["unreadable"] == len(records) + 1
