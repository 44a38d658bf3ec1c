"""The router: what it learns, how it decides, how far it can be believed, and that a folder keeps it."""

import json

import numpy as np
import pytest

from merganser._errors import ConfigError, OutputError, TaskError
from merganser.routing.requests import (
    RouterSettings,
    RoutingData,
    Row,
    Rule,
    calibration_of,
    compare_routers,
    evaluate_router,
    fit_router,
    open_router,
    read_rows,
    save_router,
    write_rows,
)
from merganser.routing.requests._predictors import _narrowed

SUM, RHYME = "What is 555 plus 31?", "Which word rhymes with flat?"


@pytest.mark.parametrize("kind", ["classifier", "nearest", "tasks"])
def test_a_router_finds_who_is_good_at_what(two, kind):
    router = fit_router(two, RouterSettings(kind=kind))
    assert router.decide(SUM).order == ("sums", "words")
    assert router.decide(RHYME).order == ("words", "sums")
    predicted = router.predict([SUM, RHYME])
    assert predicted[0, 0] > 0.8 > 0.2 > predicted[0, 1]
    assert router.predict([]).shape == (0, 2)


@pytest.mark.parametrize("kind", ["classifier", "nearest", "tasks"])
def test_the_same_data_in_another_order_give_the_same_router(two, kind):
    settings = RouterSettings(kind=kind)
    again = RoutingData.of(list(two.rows())[::-1], two.matrix.models)
    assert again.digest == two.digest
    first, second = (fit_router(data, settings).predict([SUM, RHYME, "?"]) for data in (two, again))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("calibration", ["platt", "isotonic"])
def test_probabilities_are_those_with_which_experts_solve(chancy, calibration):
    data, _ = chancy(1500, seed=1)
    router = fit_router(data, RouterSettings(calibration=calibration))
    fresh, truth = chancy(600, seed=2, split="test")
    predicted = router.predict(fresh.texts)
    true = np.array([truth[text] for text in fresh.texts])
    assert np.abs(predicted - true).mean() < 0.06
    found = evaluate_router(router, fresh)
    assert found.calibration.error < 0.05
    assert found.router.score.value > max(each.score.value for each in found.experts)


def test_of_the_kinds_the_one_that_predicts_validation_best_is_taken(two):
    router = fit_router(two)
    validation = router.data.part("validation")
    errors = {
        kind: calibration_of(
            fit_router(two, RouterSettings(kind=kind)).predict(validation.texts).T.ravel(),
            validation.matrix.scores.ravel(),
        ).brier
        for kind in ("classifier", "nearest", "tasks")
    }
    assert router.settings.kind == min(errors, key=errors.__getitem__)
    assert router.notes[0].startswith(f"Of the kinds {router.settings.kind} predicts")


def test_a_router_by_task_knows_means_of_tasks_and_needs_two(two):
    router = fit_router(two, RouterSettings(kind="tasks"))
    assert router.predictor.means.shape == (2, 2)
    assert router.predict([SUM])[0] == pytest.approx([1, 0], abs=0.1)
    alike = RoutingData.of([row._replace(task="one") for row in two.rows()], two.matrix.models)
    with pytest.raises(TaskError, match="two tasks or more"):
        fit_router(alike, RouterSettings(kind="tasks"))
    assert fit_router(alike).settings.kind in ("classifier", "nearest")


def test_narrow_rows_lead_to_the_weights_that_wide_ones_have():
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(0)
    rows, labels = draw.standard_normal((40, 300)), np.arange(40) % 2
    narrow, widened = _narrowed(rows)
    assert narrow.shape == (40, 40)
    wide, small = (
        LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000).fit(x, labels) for x in (rows, narrow)
    )
    np.testing.assert_allclose(widened(small.coef_), wide.coef_, atol=1e-6)


def test_overconfident_predictions_show_in_the_calibration_error():
    scores = np.tile([1.0, 0.0], 50)
    assert calibration_of(np.full(100, 0.99), scores).error == pytest.approx(0.49)
    assert calibration_of(np.full(100, 0.5), scores).error == pytest.approx(0.0)
    with pytest.raises(ValueError, match="as many predictions"):
        calibration_of(np.zeros(0), np.zeros(0))


def test_an_expert_that_solves_nothing_or_was_never_measured_is_not_asked_first(two):
    rows = [*two.rows(), *(Row("never", text, 0.0) for text in two.texts)]
    router = fit_router(RoutingData.of(rows, ["never", "sums", "words"]))
    assert router.decide(SUM).order[0] == "sums"
    assert router.decide(SUM).predicted["never"] < 0.05
    unknown = fit_router(RoutingData.of(two.rows(), ["sums", "unknown", "words"]), RouterSettings("nearest"))
    assert unknown.decide(SUM).predicted["unknown"] == 0


def test_a_price_makes_dear_experts_rare_and_ties_go_to_the_cheaper():
    predicted, costs = np.array([[0.9, 0.8], [0.9, 0.2], [0.5, 0.5]]), np.array([1.0, 0.0])
    assert Rule().choose(predicted, costs).tolist() == [0, 0, 1]
    assert Rule(price=0.2).choose(predicted, costs).tolist() == [1, 0, 1]
    assert Rule(threshold=0.6).choose(predicted, costs).tolist() == [0, 0, -1]


def test_a_budget_is_kept_by_the_smallest_price(chancy):
    data, _ = chancy(300, seed=3)
    costs = {"left": 1.0, "right": 0.0}
    cost = {}
    for budget in (1.0, 0.4, 0.0):
        router = fit_router(data, RouterSettings(budget=budget), costs=costs)
        validation = router.data.part("validation")
        chosen = router.rule.choose(router.predict(validation.texts), router.costs)
        cost[budget] = router.costs[chosen].mean()
        assert cost[budget] <= budget
    assert cost[1.0] > cost[0.4] >= cost[0.0]
    dear = fit_router(data, RouterSettings(budget=0.1), costs={"left": 2.0, "right": 1.0})
    assert "No price keeps a mean cost of 0.1" in dear.notes[-1]


def test_a_wanted_accuracy_makes_the_router_abstain(chancy):
    data, _ = chancy(900, seed=4)
    router = fit_router(data, RouterSettings(accuracy=0.85))
    fresh, _ = chancy(300, seed=5, split="test")
    found = evaluate_router(router, fresh)
    assert 0.5 < found.abstained < 0.8  # green and blue
    assert router.decide("blue request about ducks").abstained
    assert not router.decide("red request about ducks").abstained
    kept = evaluate_router(router, fresh, fallback=["right"])
    assert kept.router.score.value > found.router.score.value
    hopeless = fit_router(data, RouterSettings(accuracy=1.0))
    assert "No threshold keeps a mean score of 1" in hopeless.notes[-1]


def test_embeddings_may_be_hidden_states_of_a_model(two, stories):
    some = two.where(np.arange(len(two)) < 60)
    router = fit_router(some, RouterSettings(embedding=str(stories)))
    assert router.decide(SUM).order[0] == "sums"
    assert router.decide(RHYME).order[0] == "words"


@pytest.mark.parametrize("kind", ["classifier", "nearest", "tasks"])
def test_a_saved_router_decides_the_same(two, tmp_path, kind):
    settings = RouterSettings(kind=kind, threshold=0.3)
    router = fit_router(two, settings, costs={"sums": 0.5})
    save_router(router, tmp_path / "router")
    opened, experts = open_router(tmp_path / "router")
    assert experts is None
    for text in (SUM, RHYME, "", "quack"):
        assert opened.decide(text) == router.decide(text)
    assert (opened.settings, opened.data.digest) == (settings, router.data.digest)
    with pytest.raises(OutputError, match="exists already"):
        save_router(router, tmp_path / "router")


def test_an_isotonic_router_and_one_of_dense_rows_are_saved_too(chancy, stories, tmp_path):
    data, _ = chancy(90, seed=6)
    for n, settings in enumerate(
        (RouterSettings(calibration="isotonic"), RouterSettings("nearest", embedding=str(stories)))
    ):
        router = fit_router(data, settings)
        save_router(router, tmp_path / f"{n}")
        assert open_router(tmp_path / f"{n}").router.decide("red request") == router.decide("red request")


def test_a_damaged_folder_is_an_error(two, tmp_path):
    folder = tmp_path / "router"
    save_router(fit_router(two), folder)
    facts = json.loads((folder / "router.json").read_text())
    arrays, samples = (folder / "arrays.npz").read_bytes(), (folder / "samples.jsonl").read_text()
    (folder / "arrays.npz").write_bytes(arrays[:-400])
    with pytest.raises(ConfigError, match="damaged"):
        open_router(folder)
    (folder / "arrays.npz").write_bytes(arrays)
    (folder / "samples.jsonl").write_text(samples.replace("1.0", "0.0", 1))
    with pytest.raises(ConfigError, match="not what the router was fitted on"):
        open_router(folder)
    (folder / "samples.jsonl").write_text(samples)
    (folder / "router.json").write_text(json.dumps({**facts, "version": 2}))
    with pytest.raises(ConfigError, match="version 1, found 2"):
        open_router(folder)
    with pytest.raises(ConfigError, match="Cannot read"):
        open_router(tmp_path / "nobody")


def test_a_pickle_in_the_arrays_is_not_unpickled(two, tmp_path):
    class Boom:
        def __reduce__(self):
            return (open, (str(tmp_path / "boom"), "w"))

    save_router(fit_router(two), tmp_path / "router")
    np.savez(tmp_path / "router" / "arrays.npz", **{"predictor.weights": np.array([Boom()], dtype=object)})
    with pytest.raises(ConfigError, match="damaged"):
        open_router(tmp_path / "router")
    assert not (tmp_path / "boom").exists()


def test_rows_are_read_as_evaluate_writes_them(two, tmp_path):
    (tmp_path / "rows.jsonl").write_text(write_rows(two))
    assert RoutingData.of(read_rows(tmp_path / "rows.jsonl"), two.matrix.models).digest == two.digest
    line = {
        "model": "path/to/sums",
        "question": "1 + 1",
        "score": 0.5,
        "split": "test",
        "sample": "ab",
        "response": " ",
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(line) + "\n")
    [row] = read_rows(tmp_path / "rows.jsonl", {"path/to/sums": "sums"})
    assert row == Row("sums", "1 + 1", 0.5, "test", False)
    (tmp_path / "rows.jsonl").write_text('{"model": "a"}\n')
    with pytest.raises(ConfigError, match=r"rows.jsonl, line 1: expected .* KeyError 'question'"):
        read_rows(tmp_path / "rows.jsonl")


def test_no_text_is_in_two_splits_and_held_out_wins(two):
    assert set(fit_router(two).data.splits) == {"search", "validation"}
    rows = [Row("a", "x", 1.0, "test"), Row("a", "x", 0.0, "search"), Row("a", "y", 1.0, "search")]
    assert RoutingData.of(rows, ["a"]).part("test").texts == ("x",)
    with pytest.raises(TaskError, match="among those that the router was fitted on"):
        evaluate_router(fit_router(two), two)


def test_nothing_to_learn_from_is_an_error(two):
    with pytest.raises(TaskError, match="no scores of a, b"):
        RoutingData.of([], ["a", "b"])
    with pytest.raises(TaskError, match="split of 1 requests is empty"):
        fit_router(two.where(np.arange(len(two)) == 0))
    with pytest.raises(TaskError, match=r"Scores must lie in \[0, 1\]"):
        RoutingData.of([Row("a", "x", 2.0)], ["a"])


def test_evaluation_knows_best_oracle_and_gain(two):
    is_test = np.array([n % 3 == 0 for n in range(len(two))])
    router = fit_router(two.where(~is_test))
    found = evaluate_router(router, two.where(is_test))
    assert found.router.score.value == found.oracle.score.value == 1.0
    assert found.chance.score.value == pytest.approx(0.5)
    assert found.captured.value == 1.0
    assert found.gain.value == pytest.approx(1 - max(e.score.value for e in found.experts))
    assert found.by_task["sums"][0] == 1.0
    assert found.curve == ()
    assert json.loads(json.dumps(found.to_json()))["captured"]["value"] == 1.0


def test_an_expert_that_breaks_its_contract_is_followed_by_the_next():
    """The router believes in `proud` for everything; on test it keeps its contract no longer."""
    rows = [Row("proud", f"request {n}", 1.0) for n in range(40)]
    rows += [Row("plain", f"request {n}", 0.6) for n in range(40)]
    router = fit_router(RoutingData.of(rows, ["plain", "proud"]), costs={"plain": 1.0, "proud": 2.0})
    tested = [Row("proud", f"other {n}", 0.0, "test", answered=False) for n in range(10)]
    tested += [Row("plain", f"other {n}", 0.6, "test") for n in range(10)]
    found = evaluate_router(router, RoutingData.of(tested, ["plain", "proud"]))
    assert found.first.score.value == 0.0
    assert found.router.score.value == pytest.approx(0.6)
    assert found.router.cost == pytest.approx(3.0)
    assert found.captured is None


def test_routers_are_compared_on_the_same_samples(two):
    is_test = np.array([n % 3 == 0 for n in range(len(two))])
    good = fit_router(two.where(~is_test))
    swapped = [row._replace(score=1 - row.score, answered=True) for row in two.where(~is_test).rows()]
    bad = fit_router(RoutingData.of(swapped, two.matrix.models))
    tested = RoutingData.of(
        [row._replace(answered=True) for row in two.where(is_test).rows()], two.matrix.models
    )
    found = compare_routers(bad, good, tested)
    assert (found.before.value, found.after.value, found.worse) == (0.0, 1.0, 0)
    assert found.difference.low > 0.9
    assert found.p == pytest.approx(2 / 2 ** len(tested))
    other = fit_router(RoutingData.of([row._replace(expert="x") for row in two.rows()], ["x"]))
    with pytest.raises(ValueError, match="routers of the same experts"):
        compare_routers(good, other, tested)
