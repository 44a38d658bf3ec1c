"""Contracts: what is taken, what is asked, how answers are read, and what breaks them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from merganser.routing.requests import (
    Contract,
    Violation,
    classification,
    code,
    extraction,
    question_answering,
)


class Trip(BaseModel):
    start: str
    end: str
    days: int = 1


class Plan(BaseModel):
    steps: list[str]


PLANNING = Contract("planning", Trip, Plan, "Plan {days} days from {start} to {end}. Answer {like: json}.")


def test_a_request_is_checked_against_the_input():
    given_ = PLANNING.accept({"start": "here", "end": "there", "days": 2})
    assert PLANNING.question(given_) == "Plan 2 days from here to there. Answer {like: json}."
    refused = PLANNING.accept({"start": "here", "days": "many"})
    assert refused.side == "input"
    assert "end" in refused.reason
    assert "days" in refused.reason


def test_a_text_is_the_only_required_field_or_refused():
    assert question_answering().accept("Why?").question == "Why?"
    assert PLANNING.accept("go there") == Violation("input", "expected the fields end, start, found a text")
    assert isinstance(question_answering().accept(""), Violation)


def test_a_field_that_holds_braces_is_not_filled_in_again():
    given_ = PLANNING.accept({"start": "{end}", "end": "there"})
    assert "from {end} to there" in PLANNING.question(given_)


def test_what_was_wrong_is_told():
    told = PLANNING.question(
        PLANNING.accept({"start": "a", "end": "b"}), Violation("output", "steps: missing")
    )
    assert "steps: missing" in told


def test_json_is_found_in_prose_and_in_fences():
    assert PLANNING.read('Sure! {"steps": ["walk"]} Bye {').steps == ["walk"]
    assert PLANNING.read('```json\n{"steps": []}\n```').steps == []
    assert PLANNING.read('{"example": 1} {"steps": ["swim"]}').steps == ["swim"]


@pytest.mark.parametrize(
    "text", ["", "  \n", "no", '{"steps": "walk"}', '{"steps"', "[" * 9999, '{"a":' * 9999]
)
def test_everything_else_is_a_violation(text):
    found = PLANNING.read(text)
    assert found.side == "output"
    assert found.reason


@given(st.text())
def test_no_text_makes_a_contract_raise(text):
    for contract in (PLANNING, classification(["a", "b"]), extraction({"n": "integer"}), code()):
        assert isinstance(contract.read(text), BaseModel | Violation)


def test_a_classification_wants_exactly_one_label():
    mood = classification(["good", "bad", "not bad at all"])
    assert mood.said(mood.read("GOOD.")) == "good"
    assert mood.said(mood.read('{"label": "bad"}')) == "bad"
    assert "found good, bad" in mood.read("good or bad").reason
    assert isinstance(mood.read("goodness"), Violation)
    with pytest.raises(ValueError, match="two or more different labels"):
        classification(["yes", "Yes"])


def test_an_extraction_wants_all_fields_of_their_kinds():
    fields = extraction({"name": "text", "year": "integer"})
    assert fields.said(fields.read('{"name": "Ada", "year": 1815}')) == '{"name": "Ada", "year": 1815}'
    assert "year" in fields.read('{"name": "Ada", "year": "long ago"}').reason
    assert "Extra" in fields.read('{"name": "Ada", "year": 1, "age": 3}').reason
    with pytest.raises(ValueError, match="kinds text"):
        extraction({"name": "string"})


def test_code_must_parse_and_is_taken_out_of_its_fence():
    program = code()
    assert program.said(program.read("Here:\n```python\nx = {1: 2}\n```\nDone.")) == "x = {1: 2}"
    assert "SyntaxError" in program.read("def f(:").reason
    assert code(language="rust").said(code(language="rust").read("fn f() {}")) == "fn f() {}"


def test_answers_have_a_longest_length():
    assert isinstance(question_answering(longest=5).read("too long"), Violation)


def test_a_prompt_that_names_no_field_is_an_error():
    with pytest.raises(ValueError, match="names finish, but its input has days, end, start"):
        Contract("planning", Trip, Plan, "to {finish}")
