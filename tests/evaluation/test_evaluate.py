"""Models on tasks: the numbers are those of the tasks, and one model's failure is its own."""

import numpy as np
import pytest

from merganser import TaskError
from merganser.evaluation import (
    GenerativeTask,
    Question,
    Splits,
    choose,
    difference_interval,
    evaluate,
    mean_interval,
    open_task,
)
from merganser.evaluation.scorers import scorer_named

SUMS = tuple(Question(f"{a} + {a}", (str(2 * a),)) for a in range(1, 101))
TASK = GenerativeTask("sums", SUMS, scorer_named("numeric"))


def opener(**models):
    return lambda model, task: models[model]


def test_scores_intervals_and_paired_differences(adder, mute):
    models = opener(good=adder(), fair=adder(limit=100), mute=mute)
    chosen = [choose(Splits(TASK), "search")]
    found = evaluate(["fair", "good", "mute"], chosen, models)
    fair, good, nothing = found.results
    assert (fair.interval.value, good.interval.value, nothing.interval.value) == (0.5, 1, 0)
    assert good.interval == mean_interval(np.ones(100))
    assert found.difference(fair) is None
    assert found.difference(good) == difference_interval(good.scores, fair.scores)
    assert found.difference(good).value == 0.5
    rows = list(nothing.samples())
    assert len(rows) == 100
    assert rows[3] == {
        "model": "mute",
        "task": "sums",
        "split": "search",
        "sample": TASK.samples.hashes[3],
        "question": "4 + 4",
        "score": 0.0,
        "response": "",
        "reason": "empty answer",
    }


def test_a_model_that_fails_is_told_and_the_others_go_on(adder, broken):
    chosen = [choose(Splits(TASK), "search")]
    found = evaluate(["broken", "good"], chosen, opener(broken=broken, good=adder()))
    assert found.results[0].failed == "ArithmeticError: logits hold nan"
    assert found.results[0].interval is None
    assert list(found.results[0].samples()) == []
    assert found.results[1].interval.value == 1
    assert found.difference(found.results[1]) is None
    facts = found.to_json()["results"]
    assert (facts[0]["failed"], facts[0]["score"], facts[1]["difference"]) == (
        "ArithmeticError: logits hold nan",
        None,
        None,
    )


def test_a_limit_draws_by_content_and_says_so(adder):
    few, more = (choose(Splits(TASK), "search", limit=n) for n in (10, 30))
    assert few.name == "sums [10 of 100]"
    assert set(few.parts[0][1]) < set(more.parts[0][1])
    assert choose(Splits(TASK), "search", limit=10, seed=1).parts[0][1].tolist() != few.parts[0][1].tolist()
    (result,) = evaluate(["m"], [few], opener(m=adder(limit=100))).results
    assert result.hashes == tuple(TASK.samples.hashes[i] for i in few.parts[0][1])
    assert result.questions == tuple(SUMS[i].text for i in few.parts[0][1])
    everything = TASK.score(adder(limit=100), np.arange(100))
    assert result.scores.tolist() == everything[few.parts[0][1]].tolist()


def test_all_is_the_rest_and_the_test_set_given_apart(adder):
    halves = Splits(TASK.part(SUMS[:60], "all"), None, TASK.part(SUMS[60:], "test"))
    (result,) = evaluate(["m"], [choose(halves, "all")], opener(m=adder(limit=100))).results
    assert result.hashes == TASK.samples.hashes
    assert result.scores.tolist() == TASK.score(adder(limit=100), np.arange(100)).tolist()
    limited = choose(halves, "all", limit=50)
    assert len(limited) == sum(len(ids) for _, ids in limited.parts) == 50
    assert all(len(ids) for _, ids in limited.parts)


def test_progress_begins_at_nothing_and_ends_at_everything(adder):
    stages = []
    evaluate(["a", "b"], [choose(Splits(TASK), "search")], opener(a=adder(), b=adder()), watch=stages.append)
    done = [s.done for s in stages]
    assert (done[0], done[-1], {s.total for s in stages}) == (0, 200, {200})
    assert done == sorted(done)
    assert {s.doing for s in stages} == {"a on sums", "b on sums"}


def test_arrays_are_scored_too_without_answers(small_npz):
    class Constant:
        def __call__(self, inputs):
            return np.tile(np.eye(10)[3], (len(inputs), 1))

    splits = open_task(str(small_npz))
    (result,) = evaluate(["m"], [choose(splits, "test")], opener(m=Constant())).results
    assert result.interval.value == (splits.test.samples.labels == 3).mean()
    assert set(next(result.samples())) == {"model", "task", "split", "sample", "score"}


@pytest.mark.parametrize(
    ("split", "options", "error", "message"),
    [
        ("test", {}, TaskError, "sums has no test split; it has search"),
        ("dev", {}, ValueError, "Expected a split of test, validation, search, all"),
        ("search", {"limit": 0}, ValueError, "A limit must be positive"),
    ],
)
def test_what_cannot_be_chosen_is_refused(split, options, error, message):
    with pytest.raises(error, match=message):
        choose(Splits(TASK), split, **options)


def test_a_task_that_answers_with_no_scores_is_refused(adder):
    class Wrong:
        name, digest, samples, binary = "wrong", "d", TASK.samples, False

        def score(self, model, ids):
            return np.full(len(ids), 2.0)

    with pytest.raises(ValueError, match=r"wrong must answer with 64 scores in \[0, 1\]"):
        evaluate(["m"], [choose(Splits(Wrong()), "search")], opener(m=adder()))
