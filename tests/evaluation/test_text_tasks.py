"""Tasks for language models: every score is what one would work out by hand, every failure keeps its reason."""

import dataclasses
import math

import numpy as np
import pytest

from merganser import ConfigError, TaskError
from merganser.evaluation import (
    ChoiceTask,
    GenerativeTask,
    MarginTask,
    NonFiniteOutputError,
    Prompt,
    Question,
    SetMetric,
    Task,
)
from merganser.evaluation.scorers import scorer_named
from merganser.models import TextModel

SUMS = tuple(Question(f"{a} + {a}", (str(2 * a),), line=a) for a in range(1, 9))
CHOICES = tuple(
    dataclasses.replace(q, choices=(str(int(q.answers[0]) - 1), q.answers[0], "100"), right=1) for q in SUMS
)
TEXTS = (Question("abab"), Question("a"), Question("zürich"))
ALL = np.arange(8)
NUMERIC = scorer_named("numeric")


def sums(**changes):
    return GenerativeTask("sums", SUMS, NUMERIC, **changes)


TASKS = {
    "generative": sums(),
    "choice": ChoiceTask("choices", CHOICES),
    "probability": ChoiceTask("choices", CHOICES, measure="probability"),
    "likelihood": SetMetric("texts", SUMS),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_every_task_fulfils_the_protocol_and_scores_each_sample_by_itself(task, adder):
    model = adder(limit=9)
    assert isinstance(task, Task)
    assert isinstance(model, TextModel)
    scores = task.score(model, ALL)
    assert scores.shape == (8,)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert not task.binary or set(scores) <= {0, 1}
    shuffled = np.array([5, 0, 3])
    assert task.score(model, shuffled).tolist() == scores[shuffled].tolist()
    assert [g.score for g in task.details(model, shuffled)] == scores[shuffled].tolist()
    assert task.score(model, ALL[:0]).shape == (0,)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_part_is_the_same_task_with_fewer_questions(task, adder):
    part = task.part(task.questions[2:5], "test")
    assert (part.samples.split, part.samples.hashes) == ("test", task.samples.hashes[2:5])
    assert part.digest != task.digest
    assert part.score(adder(9), ALL[:3]).tolist() == task.score(adder(9), ALL[2:5]).tolist()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_model_that_has_become_nan_fails_as_a_whole(task, broken):
    with pytest.raises(ArithmeticError, match="nan"):
        task.score(broken, ALL)


def test_right_sums_score_and_wrong_ones_say_what_was_found(adder):
    details = sums().details(adder(limit=9), ALL)
    assert [g.score for g in details] == [1, 1, 1, 1, 0, 0, 0, 0]
    assert details[4].response == "That is 11."
    assert details[4].reason == "found 11, expected 10"
    assert details[0].reason == ""


def test_an_empty_answer_scores_nothing_whatever_the_scorer(mute):
    task = sums()
    pattern = dataclasses.replace(task, scorer=scorer_named("regex:.*"))
    for each in (task, pattern):
        assert {(g.score, g.reason) for g in each.details(mute, ALL)} == {(0.0, "empty answer")}


def test_an_answer_that_was_cut_off_says_so(bigrams):
    found = sums(max_tokens=7, stop=(), prompt=Prompt("{question} a")).details(bigrams("abab"), ALL[:1])[0]
    assert (len(found.response), found.score) == (7, 0)
    assert found.reason == "no number found; cut off after 7 tokens"


def test_examples_stand_before_the_question_with_their_whole_solution(adder):
    examples = (
        Question("1 + 0", ("1",), fields={"solution": "0 more: 1\n#### 1"}),
        Question("2 + 0", ("2",)),
    )
    prompt = Prompt("Q: {question}\nA:", system="Add.", examples=examples)
    (request,) = sums(prompt=prompt, stop=("Q:",), max_tokens=9).requests(ALL[:1])
    expected = "Add.\n\nQ: 1 + 0\nA: 0 more: 1\n#### 1\n\nQ: 2 + 0\nA: 2\n\nQ: 1 + 1\nA:"
    assert (request.prompt, request.stop, request.max_tokens) == (expected, ("Q:",), 9)


def test_a_chat_is_rendered_by_the_model(adder):
    prompt = Prompt("{question}", system="Add.", chat=True, examples=(Question("1 + 0", ("1",)),))
    model = adder()
    assert sums(prompt=prompt).score(model, ALL[:1]).tolist() == [1]
    assert model.prompts == ["<system>Add.<user>1 + 0<assistant>1<user>1 + 1<assistant>"]
    with pytest.raises(ValueError, match="needs `render`"):
        sums(prompt=prompt).requests(ALL[:1])


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{question}?", "1 + 1?"),
        (r"\boxed{} {1, 2} {question}", r"\boxed{} {1, 2} 1 + 1"),
        ("{{ question }} {x}\n", "1 + 1 {x}\n"),
        ("{% if level == 'easy' %}Easy: {% endif %}{{ question }}", "Easy: 1 + 1"),
        ("{level} {choices}", "easy A. 2\nB. 3"),
    ],
)
def test_templates(template, text):
    question = Question("1 + 1", ("2",), ("2", "3"), 0, fields={"level": "easy"})
    assert Prompt(template).text(question) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{questoin}", "Did you mean `{question}`"),
        ("{answer}", "which the question lacks"),
        ("{solution}", "which the question lacks"),
        ("{{ answer }}", "cannot be filled in: 'answer' is undefined"),
        ("{{ question", "no Jinja"),
        ("{{ ''.__class__.__mro__ }}", "cannot be filled in"),
        ("{% for x in %}", "no Jinja"),
    ],
)
def test_templates_that_name_what_is_not_there_are_refused(template, message):
    with pytest.raises(ConfigError, match=message):
        Prompt(template).text(Question("1 + 1", ("2",), fields={"solution": "it is 2"}))


def test_choices_are_compared_by_likelihood(bigrams):
    model = bigrams("cat sat. " * 50)
    question = Question("The cat", ("sat",), ("sat", "xyz", "sat on the mat and slept"), 0)
    at = lambda **changes: ChoiceTask("t", (question,), **changes).details(model, ALL[:1])[0]  # noqa: E731
    values = [
        answer.total
        for answer in model.log_likelihoods(ChoiceTask("t", (question,)).requests(question, model))
    ]
    assert at(normalise="none").response == "A. sat"
    shares = np.exp(values) / np.exp(values).sum()
    assert at(normalise="none", measure="probability").score == pytest.approx(shares[0])
    by_length = np.exp(np.array(values) / [3, 3, 24])
    found = at(normalise="characters", measure="probability").score
    assert found == pytest.approx(by_length[0] / by_length.sum())
    by_tokens = np.exp(np.array(values) / [4, 4, 25])
    found = at(normalise="tokens", measure="probability").score
    assert found == pytest.approx(by_tokens[0] / by_tokens.sum())


def test_the_margin_of_a_choice_is_the_probability_that_the_other_measure_scores(bigrams):
    model, ids = bigrams("cat sat. " * 50), ALL[:2]
    question = Question("The cat", ("sat",), ("sat", "xyz", "sat on the mat and slept"), 0)
    asked = (question, dataclasses.replace(question, answers=("xyz",), right=1))
    right, probable = (ChoiceTask("t", asked, measure=m) for m in ("accuracy", "probability"))
    marks = right.mark(model, ids)
    assert isinstance(right, MarginTask)
    assert marks.scores.tolist() == right.score(model, ids).tolist()
    assert marks.margins is not None
    assert marks.margins.tolist() == probable.score(model, ids).tolist()
    assert marks.margins[0] > marks.margins[1] > 0
    assert probable.mark(model, ids).margins is None


def test_what_is_written_freely_has_no_margin(adder):
    marks = sums().mark(adder(limit=9), ALL)
    assert marks.scores.tolist() == sums().score(adder(limit=9), ALL).tolist()
    assert marks.margins is None


def test_letters_can_be_scored_instead_of_texts(adder):
    prompt = Prompt("{question}\n{choices}\nAnswer:", answer=" {letter}")
    task = ChoiceTask("t", CHOICES, prompt=prompt)
    asked = task.requests(CHOICES[0], adder())
    assert [r.text for r in asked] == [" A", " B", " C"]
    assert asked[0].context == "1 + 1\nA. 1\nB. 2\nC. 100\nAnswer:"


def test_a_tie_is_no_answer(bigrams):
    question = Question("x", ("q",), ("q", "j"), 0)
    found = ChoiceTask("t", (question,)).details(bigrams("aaa"), ALL[:1])[0]
    assert found.score == 0
    assert found.reason == "2 choices are equally probable; expected A. q"
    assert ChoiceTask("t", (question,), measure="probability").score(bigrams("aaa"), ALL[:1]) == [0.5]


def test_a_wrong_choice_names_both(adder):
    found = ChoiceTask("t", CHOICES).details(adder(limit=1, error=-1), ALL[:1])[0]
    assert found.reason == "chose A. 1, expected B. 2"


def test_likelihoods_are_scores_by_byte_character_and_token(bigrams):
    model = bigrams("abababab")
    nats = [-a.total for a in model.log_likelihoods(SetMetric("t", TEXTS)._request(q, model) for q in TEXTS)]
    lengths = {"bytes": [4, 1, 7], "characters": [4, 1, 6], "tokens": [4, 1, 6]}
    for per, units in lengths.items():
        task = SetMetric("t", TEXTS, per=per)
        expected = np.exp(-np.array(nats) / units)
        assert task.score(model, ALL[:3]) == pytest.approx(expected)
        assert task.value(model, ALL[:3]) == pytest.approx(math.exp(-sum(nats) / sum(units)))
    details = SetMetric("t", TEXTS).details(model, ALL[:1])[0]
    assert details.response == f"{nats[0] / 4 / math.log(2):.4f} bits per byte"


def test_an_answer_is_scored_after_its_question(adder):
    right, wrong = adder(), adder(limit=1)
    task = SetMetric("t", SUMS, prompt=Prompt("{question} ="))
    assert task.score(right, ALL)[0] == pytest.approx(math.exp(-0.1 / 2))
    assert (task.score(right, ALL) > task.score(wrong, ALL)).all()


def test_the_digest_covers_everything_that_decides_about_scores():
    base = TASKS["generative"]
    example = (Question("1 + 0", ("1",)),)
    changed = [
        sums(stop=("\n",)),
        sums(max_tokens=255),
        sums(prompt=Prompt("{question}")),
        sums(prompt=Prompt(answer=" {answer}", examples=example)),
        sums(prompt=Prompt(examples=example)),
        sums(prompt=Prompt(system="Add.")),
        sums(prompt=Prompt(chat=True)),
        sums(prompt=Prompt(separator="\n", examples=example)),
        dataclasses.replace(base, scorer=scorer_named("numeric:evomerge")),
        dataclasses.replace(base, scorer=dataclasses.replace(NUMERIC, version=2)),
        dataclasses.replace(base, questions=(*SUMS[:-1], dataclasses.replace(SUMS[-1], answers=("17",)))),
        base.part(SUMS[::-1], "all"),
        *(TASKS[name] for name in ("choice", "probability", "likelihood")),
        ChoiceTask("choices", CHOICES, normalise="none"),
        SetMetric("texts", SUMS, per="tokens"),
    ]
    digests = [base.digest, *(t.digest for t in changed)]
    assert len(set(digests)) == len(digests)
    assert sums().digest == base.digest
    assert dataclasses.replace(base, name="other").digest == base.digest


def test_the_hash_of_a_sample_is_of_what_is_asked_and_not_of_its_answer():
    question = Question("q", ("1",), fields={"context": "here", "id": "7"})
    same = dataclasses.replace(question, answers=("2",), fields={"context": "here", "id": "8"})
    other = dataclasses.replace(question, fields={"context": "there", "id": "7"})
    prompt = Prompt("{context}: {question}")
    hashes = GenerativeTask("t", (question, same, other), NUMERIC, prompt=prompt).samples.hashes
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GenerativeTask("t", (), NUMERIC), "has no questions"),
        (
            lambda: GenerativeTask("t", (*SUMS, Question("?", ("x",), line=17)), NUMERIC),
            "1 questions cannot be graded. The first, line 17, has the answer 'x'",
        ),
        (lambda: ChoiceTask("t", SUMS), "8 questions cannot be graded. The first, line 1, has no choices"),
        (lambda: SetMetric("t", (Question(""),)), "is empty"),
    ],
)
def test_questions_that_cannot_be_graded_are_refused_before_a_model_is_asked(make, message):
    with pytest.raises(TaskError, match=message):
        make()


def test_no_tokens_are_no_answer():
    with pytest.raises(ValueError, match="at least one token"):
        sums(max_tokens=0)


def test_nan_is_told_as_what_it_is(broken):
    with pytest.raises(NonFiniteOutputError, match="log-probabilities hold nan on choices"):
        TASKS["choice"].score(broken, ALL)
