"""What a tokenizer learns from: bounded, fair to small languages, from all over the text."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmctl.core.artifacts.documents import Document, to_line
from llmctl.core.errors import DataError, RecipeError
from llmctl.core.text.splitting import content_hash
from llmctl.core.tokenize_plan import TokenizePlan
from llmctl.core.tokenizing.corpus_units import UnitJob
from llmctl.core.tokenizing.survey import Survey, Surveyor, survey, survey_path
from llmctl.core.tokenizing.training_text import (
    TextPlan,
    TextSampler,
    divided,
    plan_text,
    training_text_path,
)


def job(texts, name="000-00000-00000"):
    documents = [
        Document(f"{number}", "s", "zh" if text[:1] > "\u2000" else "en", text)
        for number, text in enumerate(texts)
    ]
    return UnitJob(name, 0, b"".join(map(to_line, documents)), "p", 1)


@pytest.mark.parametrize(
    ("total", "available", "shares", "expected"),
    [
        pytest.param(100, {"en": 900, "zh": 90}, {}, {"en": 50, "zh": 50}, id="evenly"),
        pytest.param(100, {"en": 900, "zh": 10}, {}, {"en": 90, "zh": 10}, id="what one has"),
        pytest.param(99, {"a": 1, "b": 20, "c": 900}, {}, {"a": 1, "b": 20, "c": 78}, id="three"),
        pytest.param(100, {"en": 30, "zh": 40}, {}, {"en": 30, "zh": 40}, id="all there is"),
        pytest.param(
            100,
            {"en": 900, "zh": 900, "ja": 900},
            {"zh": 0.6},
            {"en": 20, "zh": 60, "ja": 20},
            id="a share",
        ),
        pytest.param(100, {"en": 900, "zh": 5}, {"zh": 0.6}, {"en": 95, "zh": 5}, id="too little"),
    ],
)
def test_a_total_is_divided_by_hand(total, available, shares, expected):
    assert divided(total, available, shares) == expected


@given(
    st.floats(1, 1000),
    st.dictionaries(st.sampled_from("abcde"), st.floats(0, 1000), min_size=1),
)
def test_nobody_gets_more_than_it_has_nor_all_more_than_the_total(total, available):
    quotas = divided(total, available, {})

    assert all(quotas[name] <= available[name] for name in available)
    assert sum(quotas.values()) == pytest.approx(min(total, sum(available.values())))


def test_the_survey_knows_hashes_bytes_and_languages(tmp_path):
    found = survey(job(["world", "世界", "W orld"]))

    assert found.hashes_D.tolist() == [content_hash(text) for text in ("world", "世界", "world")]
    assert found.byte_counts_D.tolist() == [5, 6, 6]
    assert [found.languages[number] for number in found.languages_D] == ["en", "zh", "en"]
    assert Surveyor(tmp_path)(job(["a"], "u"), lambda _: None) is None
    again = Survey.read(survey_path(tmp_path, "u"))
    together = Survey.together([again, found])
    assert [together.languages[number] for number in together.languages_D] == [
        "en", "en", "zh", "en",
    ]  # fmt: skip
    survey_path(tmp_path, "u").write_bytes(b"PK")
    with pytest.raises(DataError, match="damaged"):
        Survey.read(survey_path(tmp_path, "u"))


def test_the_plan_leaves_out_what_is_held_out_and_cuts_long_documents():
    found = Survey(
        np.array([1, 10, 20, 30], np.uint64), np.array([900, 50, 400, 50]), np.array([0, 0, 0, 1]),
        ("en", "zh"),
    )  # fmt: skip
    plan = TokenizePlan(max_training_bytes=125, max_document_training_bytes=100)

    fractions = plan_text(plan, found, 5).fractions

    assert fractions == {"en": 75 / 150, "zh": 1.0}
    alone = plan_text(plan, found, None).fractions  # the first document only
    assert alone == {"en": 1.0, "zh": 0.0}
    with pytest.raises(RecipeError, match="no text in ja; the corpus has en, zh"):
        plan_text(TokenizePlan(training_shares={"ja": 0.5}), found, 5)


def sampled(tmp_path, texts, plan):
    taken = TextSampler(tmp_path, plan)(job(texts, "u"), lambda _: None)
    lines = training_text_path(tmp_path, "u").read_bytes().splitlines()
    return [orjson.loads(line) for line in lines], taken


def test_all_text_is_taken_where_it_may_be(tmp_path):
    texts = ["world\n", "世界", "", "held out"]
    bound = content_hash("held out") + 1
    texts = [text for text in texts if content_hash(text) >= bound or text == "held out"]

    found, taken = sampled(tmp_path, texts, TextPlan({"en": 1.0, "zh": 1.0}, 10**6, bound))

    assert found == [text for text in texts if text and text != "held out"]
    assert sum(size for _, size in taken.values()) == sum(len(t.encode()) for t in found)


def test_a_fraction_comes_from_everywhere(tmp_path):
    text = "".join(f"{number:07d}\n" for number in range(20_000))  # 160 kB
    texts = [text, "世" * 300]

    found, taken = sampled(tmp_path, texts, TextPlan({"en": 0.25, "zh": 1.0}, 80_000, 0))

    english = "".join(part for part in found if part[0] != "世")
    assert 10_000 < len(english) <= 20_000
    assert taken == {"en": (1, len(english)), "zh": (1, 900)}
    numbers = [int(line) for line in english.split("\n") if len(line) == 7]
    assert min(numbers) < 8000
    assert max(numbers) > 12_000
