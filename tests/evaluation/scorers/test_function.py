"""A scorer of one's own may raise, hang, crash or chatter: that costs one sample."""

import textwrap

import pytest

from merganser.evaluation import Question
from merganser.evaluation.scorers import scorer_named

QUESTION = Question("6 * 7?", ("42",), fields={"level": "easy"}, line=3)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the user's; its functions do whatever users' functions do."""
    source = """
        import os, re, sys, time

        def share(sample, text):
            return sum(a in text for a in sample["answers"]) / len(sample["answers"])

        def column(sample, text):
            print("chatter", flush=True)
            return float(sample["fields"]["level"] == text)

        def raises(sample, text):
            raise KeyError(text)

        def leaves(sample, text):
            sys.exit(3)

        def crashes(sample, text):
            os._exit(7)

        def large(sample, text):
            return 2

        def odd(sample, text):
            return float("nan")

        def nothing(sample, text):
            return None

        def hangs(sample, text):
            if text == "hang":
                time.sleep(60)
            if text == "backtrack":
                re.match("(a+)+$", "a" * 40 + "b")
            return 1.0
    """
    (tmp_path / "my_scorers.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "my_scorers.py"


def judge(name, text, **options):
    return scorer_named(f"my_scorers:{name}", **options).judge(QUESTION, text)


def test_a_function_sees_question_and_columns_and_may_print(module):
    assert judge("share", "it is 42") == (1, "")
    assert judge("column", "easy") == (1, "")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises", "the scorer raised KeyError: 'x'"),
        ("leaves", "the scorer raised SystemExit: 3"),
        ("crashes", "the scorer's process ended with code 7"),
        ("large", "the scorer gave 2, not a number in [0, 1]"),
        ("odd", "the scorer gave nan, not a number in [0, 1]"),
        ("nothing", "the scorer raised TypeError"),
    ],
)
def test_a_function_that_fails_costs_one_sample_and_says_why(module, name, reason):
    scorer = scorer_named(f"my_scorers:{name}")
    for _ in range(2):  # the second time in a new process where the first has ended
        found = scorer.judge(QUESTION, "x")
        assert found.score == 0
        assert found.reason.startswith(reason)


@pytest.mark.parametrize("text", ["hang", "backtrack"])
def test_a_function_that_hangs_is_stopped_and_the_next_sample_is_scored(module, text):
    scorer = scorer_named("my_scorers:hangs", seconds=0.5)
    assert scorer.judge(QUESTION, text) == (0, "the scorer took longer than 0.5 s")
    assert scorer.judge(QUESTION, "fine") == (1, "")


def test_another_source_is_another_scorer(module):
    before = scorer_named("my_scorers:share").identity
    assert scorer_named("my_scorers:share").identity == before
    module.write_text(module.read_text().replace("a in text", "a == text"))
    assert scorer_named("my_scorers:share").identity != before
