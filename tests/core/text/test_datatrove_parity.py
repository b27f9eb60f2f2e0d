"""The profiles fineweb and fineweb2: the same decision, first reason and text as datatrove.

The texts are made here: prose of both languages, bent so that each rule decides for some.
"""

import random
from functools import lru_cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmctl.core.clean_plan import CleanPlan, QualityRules
from llmctl.core.text import profiles, punctuation
from llmctl.core.text.quality import Judge

pytest.importorskip("datatrove", reason="the oracle is not installed")
pytest.importorskip("spacy", reason="the oracle needs spaCy")

# The names of datatrove's reasons.
REASONS = {
    "min_characters": "empty",
    "max_duplicate_paragraph_share": "dup_para_frac",
    "max_duplicate_paragraph_character_share": "dup_para_char_frac",
    "max_duplicate_line_share": "dup_line_frac",
    "max_duplicate_line_character_share": "dup_line_char_frac",
    **{f"max_top_{n}_gram_character_share": f"top_{n}_gram" for n in range(2, 5)},
    **{f"max_duplicate_{n}_gram_character_share": f"duplicated_{n}_n_grams" for n in range(5, 11)},
    "min_words": "gopher_short_doc",
    "max_words": "gopher_long_doc",
    "min_mean_word_characters": "gopher_below_avg_threshold",
    "max_mean_word_characters": "gopher_above_avg_threshold",
    "max_hashes_per_word": "gopher_too_many_hashes",
    "max_ellipses_per_word": "gopher_too_many_ellipsis",
    "max_bullet_line_share": "gopher_too_many_bullets",
    "max_ellipsis_line_share": "gopher_too_many_end_ellipsis",
    "min_alphabetic_word_share": "gopher_below_alpha_threshold",
    "min_stop_words": "gopher_enough_stop_words",
    "drop_lorem_ipsum": "lorem_ipsum",
    "drop_curly_brackets": "curly_bracket",
    "min_sentences": "too_few_sentences",
    "min_terminal_line_share": "line_punct_ratio",
    "max_short_line_share": "short_line_ratio",
    "max_duplicate_character_share": "char_dup_ratio",
    "max_newlines_per_word": "list_ratio",
}
OFF = {
    name: False
    for name in QualityRules.model_fields
    if name not in ("stop_words", "short_line_characters")
}
GOPHER_OFF = dict.fromkeys(
    (
        "min_doc_words",
        "max_doc_words",
        "min_avg_word_length",
        "max_avg_word_length",
        "max_symbol_word_ratio",
        "max_bullet_lines_ratio",
        "max_ellipsis_lines_ratio",
        "max_non_alpha_words_ratio",
        "min_stop_words",
    )
)
LINES_OFF = {
    "dup_line_frac": 0,
    "dup_para_frac": 0,
    "dup_line_char_frac": 0,
    "dup_para_char_frac": 0,
}


@pytest.fixture(scope="module", autouse=True)
def _words_are_split_once():
    """Let datatrove remember the words of more than five texts: its time is spent on them."""
    from datatrove.utils import text

    remembered = text.split_into_parts
    text.split_into_parts = lru_cache(maxsize=5000)(remembered.__wrapped__)
    yield
    text.split_into_parts = remembered


def chain(language="eng_Latn", **filters):
    """Return datatrove's filters, by their short names with their arguments."""
    from datatrove.pipeline import filters as theirs

    kinds = {
        "repetition": theirs.GopherRepetitionFilter,
        "quality": theirs.GopherQualityFilter,
        "c4": theirs.C4QualityFilter,
        "fineweb": theirs.FineWebQualityFilter,
    }
    return [kinds[name](language=language, **arguments) for name, arguments in filters.items()]


def their_reason(filters, text):
    from datatrove.data import Document

    document = Document(text=text, id="")
    for one in filters:
        result = one.filter(document)
        if result is not True:
            return result[1], None
    return None, document.text


def our_reason(judge, text, language):
    judgement = judge.judge(text, language)
    if judgement.violation is None:
        return None, judgement.text
    return REASONS[judgement.violation.rule], None


def fineweb_chain():
    return chain(repetition={}, quality={}, c4={"filter_no_terminal_punct": False}, fineweb={})


def chinese_arguments():
    """The values of fineweb-2/configs/cmn_Hani.yml, as its pipeline hands them over."""
    return {
        "repetition": {
            **LINES_OFF,
            "dup_line_frac": 0.287,
            "top_n_grams": ((2, 0.256), (3, 0.201), (4, 0.171)),
            "dup_n_grams": (
                (5, 0.198),
                (6, 0.182),
                (7, 0.167),
                (8, 0.154),
                (9, 0.14),
                (10, 0.127),
            ),
        },
        "fineweb": {
            "short_line_thr": 999,
            "char_duplicates_ratio": 0.1,
            "line_punct_thr": 0.106,
            "new_line_ratio": 0.178,
        },
        "quality": {
            "max_avg_word_length": 5,
            "min_avg_word_length": 1,
            "max_non_alpha_words_ratio": 0.735,
            "stop_words": list("的年在月是和日了於·為有被人中为他與後也而由"),
            "min_stop_words": 2,
        },
    }


ENGLISH = (
    "The committee met on Tuesday to discuss the new library, and the room was full.",
    "Many people came early; they didn't want to miss what the architect would say!",
    "She's said that it should be open at night (until 10p.m.), e.g. for students.",
    "Nobody spoke against it, but some asked what it'd cost: $3.5m or so?",
    "The mayor's answer was short. “Money has been set aside,” he said — years ago.",
    "Mr. Smith of Acme Co. and Dr. Lee wrote to info@example.com about U.S. funds...",
    "After two hours they agreed to begin in spring; see https://example.com/a?b=c&d=1.",
    "To be or not to be, that is the question which we have with us and of which I speak.",
    "It's a well-known fact that 5km/h isn't fast, :) but :-( it's fine and/or good <3.",
    "I'll go, you're late, we've won, they'd lost; let's don't can't won't cannot gonna.",
)
CHINESE = (
    "昨天下午，图书馆的新楼在市中心正式开放了。",
    "很多人带着孩子来看，也有不少老人坐在窗边读报。",
    "馆长说，这座楼用了三年时间才建成，里面有五十万册书！",
    "年轻的设计师站在门口，向大家介绍阅览室为什么朝南？",
    "她希望每个人都能在這裡找到安靜的角落，與朋友一起讀書。",
    "到了2024年3月，访问量增加了3.5%，WiFi和T恤、C++课程都受歡迎。",
    "街上的行人都停下来看䟃𧽼二字，而他也被人問為什麼。",
    "项目地址是https://example.cn/v2.0.1/env.yml，由ResNet-18训练。",
)


def shuffled(sentences, seed, joiner=" ", num=12):
    return joiner.join(random.Random(seed).choices(sentences, k=num))


def each(sentences, joiner):
    return joiner.join(sentences)


def bent(sentences, joiner):
    """Return texts in which each rule has something to find."""
    prose = each(sentences, joiner)
    numbers = " ".join(str(number * number) for number in range(80))
    return [
        "",
        " ",
        "\n\u3000\r\n",
        "word",
        sentences[0],
        prose,
        each(sentences, "\n"),
        each(sentences, "\n\n"),
        each(sentences, "\r\n"),
        each(sentences, "\u2028"),
        each(sentences, "\n\n \n\x0b\t"),
        "\n".join([prose] * 3),
        "\n\n".join([prose] * 3),
        "\n\n".join([*sentences, *sentences[:4]]),
        "\n\n".join([*sentences, "ok.", "ok.", "ok.", "ok.", "ok.", "ok."]),
        "\n".join([*sentences, sentences[0]]),
        "\n".join([*sentences, "ok.", "ok.", "ok.", "ok.", "ok."]),
        *[shuffled(sentences, seed, joiner) for seed in range(12)],
        *[shuffled(sentences, seed, "\n") for seed in range(4)],
        prose + " " + "spam " * 30,
        prose + " " + "eggs and ham " * 12,
        prose + " " + "one two three four " * 9,
        prose + " " + "a long row of seven words here, again; " * 3,
        *[prose + " " + " ".join(prose.split()[:count]) for count in (5, 8, 12, 20)],
        prose + joiner + prose[: len(prose) // 6],
        joiner.join([*sentences] * 2),
        prose + numbers,
        numbers + "\n" + prose,
        prose + " " + "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 4,
        " ".join("pneumonoultramicroscopic" + chr(97 + n % 26) * (n % 9) for n in range(60)),
        prose.replace(joiner, " # # # "),
        prose.replace(joiner, " ... "),
        prose.replace(joiner, "… … "),
        "\n".join(f"- {line}" for line in sentences),
        "\n".join(f" • {line}" for line in sentences * 2),
        "\n".join(f"{line} ..." for line in sentences),
        "\n".join(line.rstrip(".!?。！？") for line in sentences),
        "\n".join(line.rstrip(".!?。！？") + "。”" for line in sentences),
        "\n".join(line[:20] + "." for line in sentences) + "\n" + prose,
        "\n".join(prose.split()),
        each(sentences, "\n") + "\nLorem ipsum dolor sit amet {",
        each(sentences, "\n") + "\nA line with { first\nlorem ipsum dolor sit",
        each(sentences, "\n") + "\nPlease enable java[1]script or JavaScript here",
        each(sentences, "\n") + "\nOur cookie policy and terms of use are here",
        each(sentences, "[12]\n") + "[edit]\n[1] [2] [citation needed]\nTwo words\n  \n",
        "\n".join(["Three words here. [3]", "Foo bar baz.  [1]", "a b c\t. d", "x y  z. ) q"] * 3),
        "w" * 1001 + " is too long\n" + each(sentences, "\n"),
        "😀 emoji 👩‍👩‍👧 " + prose + " 😀",
        prose + " IS_ALPHA LIKE_NUM x''  'em x'' 'em-x: ): ) (: ): 8) ._. o.O Mr . p.m .",
        prose + " Lovin' 're-x x-Nuthin' 'cause (o: <3 </3 :D) :DD don’t rock’n’roll ‘s",
        "Of PoW. and (ProgPoW). or `BIG`. or 12. a_b-c_d. *x*. e.g.) " + prose,
        "\x00\x01 \ufeff\u200b" + prose + "\x1c\x85\xa0\u3000" + prose,
    ]


TEXTS = {"en": bent(ENGLISH, " "), "zh": bent(CHINESE, "")}


def compared(filters, plan, language, texts):
    """Return the reasons of both, text by text, datatrove's first."""
    judge = Judge(CleanPlan(**plan))
    return [(their_reason(filters, text), our_reason(judge, text, language)) for text in texts]


def test_same_sets_of_signs():
    from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
    from spacy.pipeline import Sentencizer

    assert punctuation.TERMINAL_PUNCTUATION == TERMINAL_PUNCTUATION
    assert punctuation.SYMBOLS == PUNCTUATION_SET
    assert set(Sentencizer.default_punct_chars) == punctuation.SENTENCE_ENDS


def test_fineweb_decides_as_datatrove_in_any_language():
    for theirs, ours in compared(
        fineweb_chain(), {"profile": "fineweb"}, "zh", [*TEXTS["en"], *TEXTS["zh"]]
    ):
        assert ours == theirs


def test_fineweb2_decides_as_datatrove_on_chinese():
    filters = chain("cmn_Hani", **chinese_arguments())

    for theirs, ours in compared(
        filters, {"profile": "fineweb2"}, "zh", [*TEXTS["zh"], *TEXTS["en"][:20]]
    ):
        assert ours == theirs


ALONE = [
    *[
        (
            f"top {n}",
            {"repetition": {**LINES_OFF, "top_n_grams": ((n, 0.03),), "dup_n_grams": ()}},
            {f"max_top_{n}_gram_character_share": 0.03},
        )
        for n in range(2, 5)
    ],
    *[
        (
            f"duplicate {n}",
            {"repetition": {**LINES_OFF, "top_n_grams": (), "dup_n_grams": ((n, 0.04),)}},
            {f"max_duplicate_{n}_gram_character_share": 0.04},
        )
        for n in range(5, 11)
    ],
    *[
        (
            ours,
            {"repetition": {**LINES_OFF, theirs: 0.1, "top_n_grams": (), "dup_n_grams": ()}},
            {ours: 0.1},
        )
        for theirs, ours in {
            "dup_line_frac": "max_duplicate_line_share",
            "dup_line_char_frac": "max_duplicate_line_character_share",
            "dup_para_frac": "max_duplicate_paragraph_share",
            "dup_para_char_frac": "max_duplicate_paragraph_character_share",
        }.items()
    ],
    *[
        (ours, {"quality": {**GOPHER_OFF, theirs: bound}}, {ours: bound})
        for theirs, ours, bound in [
            ("min_doc_words", "min_words", 150),
            ("max_doc_words", "max_words", 150),
            ("min_avg_word_length", "min_mean_word_characters", 4),
            ("max_avg_word_length", "max_mean_word_characters", 4),
            ("max_bullet_lines_ratio", "max_bullet_line_share", 0.5),
            ("max_ellipsis_lines_ratio", "max_ellipsis_line_share", 0.1),
            ("max_non_alpha_words_ratio", "min_alphabetic_word_share", 0.82),
            ("min_stop_words", "min_stop_words", 7),
        ]
    ],
    (
        "signs",
        {"quality": {**GOPHER_OFF, "max_symbol_word_ratio": 0.05}},
        {"max_hashes_per_word": 0.05, "max_ellipses_per_word": 0.05},
    ),
    (
        "c4 as FineWeb",
        {"c4": {"filter_no_terminal_punct": False}},
        {name: getattr(profiles.ENGLISH, name) for name in profiles._C4},
    ),
    (
        "c4 strictly",
        {
            "c4": {
                "min_num_sentences": 12,
                "min_words_per_line": 5,
                "max_word_length": 30,
                "filter_lorem_ipsum": False,
                "filter_curly_bracket": False,
            }
        },
        {
            **{name: True for name in QualityRules.model_fields if name.startswith("cut_")},
            "min_sentences": 12,
            "min_line_words": 5,
            "max_line_word_characters": 30,
        },
    ),
    *[
        (
            ours,
            {
                "fineweb": {
                    "line_punct_thr": 0,
                    "short_line_thr": 999,
                    "char_duplicates_ratio": 999,
                    "new_line_ratio": 999,
                    "short_line_length": 60,
                    theirs: bound,
                }
            },
            {ours: bound, "short_line_characters": 60},
        )
        for theirs, ours, bound in [
            ("line_punct_thr", "min_terminal_line_share", 0.7),
            ("short_line_thr", "max_short_line_share", 0.3),
            ("char_duplicates_ratio", "max_duplicate_character_share", 0.05),
            ("new_line_ratio", "max_newlines_per_word", 0.1),
        ]
    ],
]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("filters", "rules"), [pytest.param(*row[1:], id=row[0]) for row in ALONE])
def test_each_rule_alone_decides_as_datatrove(filters, rules, language):
    texts = [text for text in TEXTS[language] if text.strip()]
    profile, theirs = {"en": ("fineweb", "eng_Latn"), "zh": ("fineweb2", "cmn_Hani")}[language]
    if "c4" in filters and language == "zh":
        pytest.skip("FineWeb-2 has none of C4's rules, which count words between spaces")
    rules = {"stop_words": ("the", "be", "to", "of", "and", "that", "have", "with"), **rules}

    pairs = compared(
        chain(theirs, **filters), {"profile": profile, "rules": {**OFF, **rules}}, language, texts
    )

    assert [ours for _, ours in pairs] == [theirs for theirs, _ in pairs]
    if language == "en":
        reasons = {theirs[0] for theirs, _ in pairs}
        assert None in reasons
        assert {REASONS[rule] for rule in rules if rule in REASONS} <= reasons


PIECES = st.sampled_from(
    [
        *" \n\t\r\u2028.!?:;)('\"-…•#{[]’xD38o=<>*/_\\&%$@^|~`,",
        "  ",
        "\n\n",
        "...",
        ":)",
        " ' ",
        "''",
        "'re",
        "'s",
        "Mr.",
        "p.m.",
        "U.S.",
        "Lovin'",
        "PoW.",
        "AB.",
        "):",
        "don't",
        "[1]",
        "the",
        "of",
        "and",
        "a",
        "lorem ipsum",
        "well-known",
        "5km",
        "foo_bar",
        "3.14",
        "http://x.y/z",
        "中文",
        "图书馆",
        "。",
        "T恤",
        "𧽼",
        "é",
        "\x00",
        "\xa0",
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
@example("Foo.  ) bar")
@example("Foo.  )")
@example("Foo.\t. bar. ")
@example("Foo. )  ")
def test_any_text_is_split_into_words_and_sentences_as_datatrove_does(text):
    from datatrove.utils.text import split_into_sentences, split_into_words

    from llmctl.core.text.c4_lines import _sentences_of_line
    from llmctl.core.text.quality import _splitter
    from llmctl.core.text.word_table import WordTable

    for ours, theirs in {"spacy": "eng_Latn", "chinese": "cmn_Hani"}.items():
        table = TABLES.setdefault(ours, WordTable(_splitter(ours, "en")))
        assert table.strings(table.words(text).ids) == split_into_words(text, theirs)
        if ours == "spacy":
            assert _sentences_of_line(table, text) == len(split_into_sentences(text, theirs))


@pytest.mark.filterwarnings("ignore:Dictionary.create")
def test_japanese_is_split_into_words_as_datatrove_does():
    pytest.importorskip("sudachipy", reason="the extra ja is not installed")
    from datatrove.utils.text import split_into_words

    from llmctl.core.text.quality import _splitter
    from llmctl.core.text.word_table import WordTable

    table = WordTable(_splitter("japanese", "en"))
    prose = "昨日の午後、町の図書館が開きました。 ３階には CAFE があります…\n\u3000窓のそば。"
    # Long enough to be cut twice by its bytes, at places that are not ends of words.
    for text in (prose, prose * 300, f"ab {prose * 290}"):
        assert table.strings(table.words(text).ids) == split_into_words(text, "jpn_Jpan")


@settings(deadline=None, max_examples=60)
@given(st.lists(PIECES, min_size=1, max_size=80).map("".join), st.integers(1, 4))
def test_any_text_meets_the_same_rule_first(text, copies):
    rules = {"min_words": 5, "min_sentences": 2, "min_mean_word_characters": 1}
    rules["min_alphabetic_word_share"] = 0.3
    filters = FILTERS.setdefault(
        "loose",
        chain(
            repetition={},
            quality={
                "min_doc_words": 5,
                "min_avg_word_length": 1,
                "max_non_alpha_words_ratio": 0.3,
            },
            c4={"filter_no_terminal_punct": False, "min_num_sentences": 2},
            fineweb={},
        ),
    )
    judge = Judge(CleanPlan(profile="fineweb", rules=rules))
    text = (ENGLISH[len(text) % 10] + " " + text) * copies

    assert our_reason(judge, text, "en") == their_reason(filters, text)


TABLES: dict[str, object] = {}
FILTERS: dict[str, object] = {}


def test_unknown_languages_have_spacy_words_of_any_language():
    from datatrove.utils.text import split_into_words

    text = "Die Straße z.B. ist 5km lang; l'été, aujourd'hui."
    for language, theirs in {"de": "deu_Latn", "und": "abk_Cyrl"}.items():
        judge = Judge(CleanPlan(profile="fineweb2", rules={**OFF, "min_words": 0}))
        table = judge._for(language).make_table()
        assert table.strings(table.words(text).ids) == split_into_words(text, theirs)


def test_values_are_those_of_the_published_files():
    rules = profiles.CHINESE
    arguments = chinese_arguments()

    assert rules.max_duplicate_line_share == arguments["repetition"]["dup_line_frac"]
    assert rules.stop_words == tuple(arguments["quality"]["stop_words"])
