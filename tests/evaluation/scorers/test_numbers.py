"""Numbers as people write them, and the quirks of published evaluators, each pinned by an example."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evaluation import Question
from merganser.evaluation.scorers import answer_number, numbers_in, scorer_named


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so it is 42.", 42),
        ("1,234", 1234),
        ("a total of $1,234,567.50", Fraction(246913500, 200)),
        ("-5", -5),
        ("答えは-5です", -5),
        ("答えは－１２です", -12),
        ("x = −3", -3),
        ("-$7", -7),
        ("$-7", -7),
        ("10-3", 3),
        ("(2)-3", 3),
        ("- 3 apples", 3),
        ("3/4", Fraction(3, 4)),
        ("½", Fraction(1, 2)),
        ("2½ cups", Fraction(5, 2)),
        ("1 1/2 cups", Fraction(3, 2)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"\$1{,}200", 1200),
        ("50%", 50),
        ("５０％", 50),
        ("１，２３４円", 1234),
        ("3万5千円", 35000),
        ("2千万", 20_000_000),
        ("1億2000万", 120_000_000),
        (".5", Fraction(1, 2)),
        ("1e3", 1000),
        ("1, 2, 3", 3),
        ("10²", 10),
        ("1/0 is 7 or 1/0", 7),
        ("the first is 1.\n#### 18\nNext: 99", 18),
        ("#### \nthen 3", 3),
        ("####18 #### 19", 18),
        ("#### no number here\n#### 4, surely", 4),
        ("9" * 5000 + " or 3 or " + "9" * 5000, 3),
        ("no number", None),
        ("", None),
    ],
)
def test_the_number_a_text_ends_up_with(text, number):
    assert answer_number(text) == number


@given(
    st.integers(-(10**12), 10**12),
    st.sampled_from(["", "$", "¥"]),
    st.sampled_from(["", "%", ".", " 円", "です"]),
)
def test_an_integer_with_commas_and_signs_is_read_back(value, before, after):
    sign = "-" if value < 0 else ""
    assert answer_number(f"therefore {sign}{before}{abs(value):,}{after}") == value


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**6), max_value=10**6))
def test_a_decimal_is_read_exactly_in_any_width(value):
    wide = str(value).translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789.-"})
    assert answer_number(f"値は{wide}") == Fraction(value)


@given(st.text(alphabet="0123456789,.-/$%eE千万 ½#\n", max_size=40))
def test_no_text_is_too_strange_to_be_read(text):
    assert all(isinstance(number, Fraction) for number in numbers_in(text))


def judged(scorer, text, answer):
    return scorer_named(scorer).judge(Question("?", (answer,)), text).score


@pytest.mark.parametrize(
    ("text", "answer", "ours", "evomerge", "strict", "flexible"),
    [
        # columns: numeric, numeric:evomerge, numeric:lm-eval-strict, numeric:lm-eval-flexible; the last two were
        # compared with the filters and the metric of lm_eval 0.4 on these very texts
        ("#### 18", "18", 1, 1, 1, 1),
        ("The answer is 18.", "18", 1, 1, 0, 1),
        ("The answer is 1,234.", "1234", 1, 0, 0, 1),
        ("The answer is 1,234.", "234", 0, 1, 0, 0),
        ("The answer is -5", "-5", 1, 0, 0, 1),
        ("The answer is -5", "5", 0, 1, 0, 0),
        ("#### -5", "-5", 1, 0, 1, 1),
        ("The answer is 1/2", "1/2", 1, 0, 0, 0),
        ("The answer is 1/2", "2", 0, 1, 0, 1),
        ("#### $1,234", "1,234", 1, 0, 0, 1),
        ("#### 3.0", "3", 1, 1, 0, 0),
        ("#### 7\nQuestion: 8", "7", 1, 0, 1, 0),
        ("１２", "12", 1, 1, 0, 0),
        ("costs 12 ...", "12", 1, 1, 0, 0),
    ],
)
def test_the_published_evaluators_keep_their_quirks(text, answer, ours, evomerge, strict, flexible):
    names = ("numeric", "numeric:evomerge", "numeric:lm-eval-strict", "numeric:lm-eval-flexible")
    assert [judged(name, text, answer) for name in names] == [ours, evomerge, strict, flexible]


def test_lm_eval_itself_agrees_where_it_is_installed():
    extraction = pytest.importorskip("lm_eval.filters.extraction")
    metrics = pytest.importorskip("lm_eval.api.metrics")
    flexible = {"regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}
    filters = {
        "numeric:lm-eval-strict": extraction.RegexFilter(),
        "numeric:lm-eval-flexible": extraction.RegexFilter(**flexible),
    }
    ignored = [",", "\\$", "(?s).*#### ", "\\.$"]
    texts = [
        "#### 18",
        "is 1,234.",
        "-5",
        "$5",
        "#### $1,234",
        "7 ...",
        "none",
        "#### 7\nQuestion: 8",
        "1/2",
        "5.",
    ]
    for name, each in filters.items():
        for text in texts:
            for answer in ("18", "1,234", "-5", "5", "7", "2"):
                (found,) = each.apply([[text]], [{}])[0]
                theirs = metrics.exact_match_hf_evaluate(
                    [found], [f"So. #### {answer}"], ignored, ignore_case=True
                )
                assert judged(name, text, answer) == theirs["exact_match"], (name, text, answer)


def test_an_answer_without_a_number_is_a_fault_of_the_question():
    complaint = scorer_named("numeric").complaint
    assert complaint(Question("?", ("forty",))) == "has the answer 'forty', which holds no number"
    assert complaint(Question("?")) == "has no answer to compare with"
    assert complaint(Question("?", ("40",))) is None


def test_reasons_say_what_was_found():
    judge = scorer_named("numeric").judge
    assert judge(Question("?", ("42",)), "1,041") == (0, "found 1,041, expected 42")
    assert judge(Question("?", ("42",)), "none") == (0, "no number found")
    assert judge(Question("?", ("42",)), "42") == (1, "")
