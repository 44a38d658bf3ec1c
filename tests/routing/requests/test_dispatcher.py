"""The dispatcher always ends: with an answer that keeps its contract, or with a clear error."""

import json
import time

import pytest

from merganser._errors import ConfigError, OutputError, TaskError
from merganser.evaluation import open_task
from merganser.routing.requests import (
    Dispatcher,
    Endpoint,
    Expert,
    Limits,
    OutcomeLog,
    RouterSettings,
    RoutingData,
    Row,
    classification,
    fit_router,
    question_answering,
    refit_router,
    score_experts,
)

RHYME = "Which word rhymes with flat?"


@pytest.fixture
def router(two):
    """Believes in `sums` for sums and in `words` for the rest."""
    return fit_router(two)


def fail(_):
    raise RuntimeError("no ducks today")


def test_the_expert_of_the_request_answers(router, expert):
    experts = [expert("sums", lambda _: "42"), expert("words", str.upper, cost=2.0)]
    trace = Dispatcher(router, experts).ask(RHYME)
    assert (trace.expert, trace.text, trace.answer) == ("words", RHYME.upper(), {"answer": RHYME.upper()})
    assert (trace.error, trace.cost, len(trace.attempts)) == (None, 2.0, 1)
    assert trace.decision.order == ("words", "sums")


def test_a_broken_contract_is_told_and_asked_again_then_the_next_is_asked(router, expert):
    prompts = []

    def stubborn(prompt):
        prompts.append(prompt)
        return "maybe"

    moods = classification(["good", "bad"], retries=2)
    experts = [expert("words", stubborn, moods), expert("sums", lambda _: "fine")]
    trace = Dispatcher(router, experts).ask(RHYME)
    assert [a.outcome for a in trace.attempts] == ["broken", "broken", "broken", "kept"]
    assert "expected one of good, bad, found 'maybe'" in prompts[1]
    assert "broke" not in prompts[0]
    assert (trace.expert, trace.text) == ("sums", "fine")


def test_an_expert_that_learns_from_what_it_is_told_is_kept(router, expert):
    moods = classification(["good", "bad"])
    experts = [
        expert("words", lambda p: "bad" if "broke" in p else "hm", moods),
        expert("sums", lambda _: "fine"),
    ]
    assert Dispatcher(router, experts).ask(RHYME).expert == "words"


def test_experts_that_fail_hang_or_refuse_cost_their_limits_and_no_more(router, service, expert):
    hanging = expert("words", lambda _: str(service.closing.wait(60)), seconds=0.1)
    trace = Dispatcher(router, [hanging, expert("sums", fail)]).ask(RHYME)
    assert [(a.expert, a.outcome) for a in trace.attempts] == [("words", "late"), ("sums", "failed")]
    assert trace.expert is trace.answer is trace.text is None
    assert "words was late: took longer than 0.1 s; sums failed: raised RuntimeError: no ducks" in trace.error
    url = f"http://127.0.0.1:{service.server_port}/v1"
    contract = question_answering(prompt="hang: {question}", limits=Limits(0.1))
    far = Expert("words", contract, Endpoint(url, "duck"))
    trace = Dispatcher(router, [far, expert("sums", lambda _: "here")]).ask(RHYME)
    assert (trace.attempts[0].outcome, trace.text) == ("late", "here")


def test_the_fallback_answers_where_the_others_do_not_or_the_router_abstains(two, expert):
    shy = fit_router(two, RouterSettings(kind="classifier", threshold=1.0))
    experts = [expert("words", str.upper), expert("sums", fail), expert("last", lambda _: "ask a person")]
    trace = Dispatcher(shy, experts, fallback=["last"]).ask(RHYME)
    assert (trace.decision.abstained, trace.expert, len(trace.attempts)) == (True, "last", 1)
    assert "abstains: the best predicted score is" in Dispatcher(shy, experts).ask(RHYME).error
    broken = [expert("words", fail), *experts[1:]]
    trace = Dispatcher(fit_router(two), broken, fallback=["words", "last"]).ask(RHYME)
    assert [a.expert for a in trace.attempts] == ["words", "sums", "last"]


def test_a_time_for_the_whole_request_is_kept(router, service, expert):
    def sleep(_):
        return str(service.closing.wait(60))

    experts = [expert("words", sleep, seconds=30.0), expert("sums", sleep, seconds=30.0)]
    trace = Dispatcher(router, experts, seconds=0.2).ask(RHYME)
    assert trace.expert is None
    assert trace.seconds < 10
    assert [a.expert for a in trace.attempts] == ["words"]


def test_experts_that_do_not_take_the_request_are_not_asked(router, expert):
    experts = [expert("words", str.upper), expert("sums", lambda _: "4", classification(["4", "5"]))]
    trace = Dispatcher(router, experts).ask({"text": RHYME})
    assert trace.decision.refused == {"words": "question: Field required"}
    assert (trace.expert, trace.answer) == ("sums", {"label": "4"})
    assert (
        "No expert takes such a request: words: question" in Dispatcher(router, experts).ask({"a": 1}).error
    )


def test_unknown_experts_are_named(router, expert):
    with pytest.raises(ValueError, match="no expert 'words'; there are: sums"):
        Dispatcher(router, [expert("sums", fail)])
    with pytest.raises(ValueError, match="no expert 'x'"):
        Dispatcher(router, [expert("sums", fail), expert("words", fail)], fallback=["x"])


def test_exploring_asks_every_expert_now_and_then(router, expert):
    experts = [expert("sums", lambda _: "4"), expert("words", lambda _: "cat")]
    dispatcher = Dispatcher(router, experts, explore=0.5)
    traces = [dispatcher.ask(f"{RHYME} {n}") for n in range(40)]
    drawn = [trace for trace in traces if trace.decision.explored]
    assert 10 < len(drawn) < 30
    assert {trace.expert for trace in drawn} == {"sums", "words"}
    assert {trace.expert for trace in traces if trace not in drawn} == {"words"}
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        Dispatcher(router, experts, explore=2)


def test_a_log_is_read_as_it_was_written_even_with_a_torn_line(router, expert, tmp_path):
    log = OutcomeLog(tmp_path / "logs" / "outcomes.jsonl")
    experts = [expert("sums", lambda _: "4"), expert("words", lambda _: "cät")]
    dispatcher = Dispatcher(router, experts, log=log)
    first = dispatcher.ask(RHYME)
    log.path.write_bytes(log.path.read_bytes() + log.path.read_bytes()[:70])  # killed while it wrote
    second = dispatcher.ask("What is 1 plus 1?")
    log.grade(first.id, 0.5)
    found = log.read()
    assert found.traces == (first, second)
    assert (found.grades, found.torn) == ({first.id: 0.5}, 1)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        log.grade(first.id, 2)
    with pytest.raises(ConfigError, match="Cannot read"):
        OutcomeLog(tmp_path / "nobody").read()
    with pytest.raises(OutputError, match="cannot be written"):
        OutcomeLog(tmp_path).grade("x", 1)


def test_a_router_learns_from_its_log_and_not_from_what_is_held_out(two, router, expert, tmp_path):
    log = OutcomeLog(tmp_path / "log.jsonl")
    experts = [expert("sums", lambda _: "cat"), expert("words", fail)]
    dispatcher = Dispatcher(router, experts, log=log)
    requests = [f"Which word rhymes with {a}{b}at?" for a in "klmnop" for b in "stuvwx"]
    traces = [dispatcher.ask(request) for request in requests]
    for trace in traces[1:]:
        log.grade(trace.id, 1.0)
    validated = router.data.part("validation").texts[0]
    dispatcher.ask(validated)
    held_out = [text for text in requests if text == requests[1]]
    tested = RoutingData.of([Row("sums", text, 1.0) for text in held_out], ["sums"]).matrix.samples
    found = refit_router(router, log.read(), held_out=tested)
    before, after = (each.decide("Which word rhymes with krat?").predicted for each in (router, found.router))
    assert after["words"] < before["words"] - 0.2
    assert after["sums"] > before["sums"] + 0.2
    assert found.added == 2 * len(requests) - 1 - 2
    assert (found.ungraded, found.held_out, found.torn) == (1, 3, 0)
    again = refit_router(router, log.read(), held_out=tested).router
    assert again.decide(RHYME) == found.router.decide(RHYME)
    assert found.router.data.part("validation").texts == router.data.part("validation").texts


def test_a_log_that_teaches_nothing_is_an_error(router, tmp_path):
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(TaskError, match="teaches nothing: 0 requests"):
        refit_router(router, OutcomeLog(tmp_path / "log.jsonl").read())


@pytest.fixture
def sums(tmp_path):
    """A task of sums."""
    rows = [{"question": f"{a} + {a}?", "answer": str(2 * a)} for a in range(50)]
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return open_task(tmp_path / "sums.jsonl")


def test_experts_are_scored_on_what_they_would_answer(sums, expert):
    def double(prompt):
        return f"It is {2 * int(prompt.split()[0])}."

    scored = score_experts(
        [expert("right", double, cost=2.0), expert("wrong", lambda _: "0 it is"), expert("fails", fail)],
        [sums],
        ("search", "validation"),
    )
    data = scored.data
    assert set(data.splits) == {"search", "validation"}
    assert len(data) == len(sums.search.samples) + len(sums.validation.samples)
    assert data.matrix.mean("right") == 1.0
    assert data.matrix.mean("wrong") < 0.1
    assert data.answered.sum(axis=1).tolist() == [len(data), len(data), 0]
    assert scored.costs["right"] == 2.0
    assert scored.notes == ("fails answered nothing: raised RuntimeError: no ducks today",)
    assert set(data.texts) <= {f"{a} + {a}?" for a in range(50)}


def test_an_expert_that_is_late_three_times_is_not_waited_for_any_more(sums, service, expert):
    asked = []

    def sleep(prompt):
        asked.append(prompt)
        service.closing.wait(60)

    begun = time.monotonic()
    scored = score_experts([expert("sleepy", sleep, seconds=0.05)], [sums], ("search",))
    assert len(asked) == 3
    assert time.monotonic() - begun < 20
    assert (scored.data.matrix.mean("sleepy"), scored.data.answered.any()) == (0.0, False)


def test_tasks_without_answers_in_writing_are_refused(tmp_path, expert):
    rows = [{"question": f"Is {n} even?", "choices": ["yes", "no"], "answer": n % 2} for n in range(20)]
    (tmp_path / "even.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(TaskError, match="no answers in writing"):
        score_experts([expert("a", fail)], [open_task(tmp_path / "even.jsonl")], ("search",))
