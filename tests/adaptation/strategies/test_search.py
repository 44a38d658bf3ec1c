"""Few-shot search: it finds a mixture that was planted, and says honestly what that is worth."""

import numpy as np
import pytest

from merganser.adaptation import mix
from merganser.adaptation.strategies import CrossEntropy, Mixture, MixtureSearch, search_mixture
from merganser.evaluation import ChoiceTask, Chosen, GenerativeTask, Prompt, Question
from merganser.evaluation.scorers import scorer_named
from merganser.models import GenerationRequest

from .conftest import NAMES

PROMPTS = ["Once upon a time", "Lily saw a big dog and", "Tom", "One day a cat", "The bird", "Mom said"]
HELD_OUT = ["It was a sunny day and", "A boy named Tim"]


def task_of(model, weights, prompts=(*PROMPTS, *HELD_OUT), tokens=8):
    """What a mixture answers, as the right answers of a task."""
    model.adapted.add("planted", mix(list(model.vectors.values()), weights))
    answers = model.generate_as(
        [GenerationRequest(p, (), tokens) for p in prompts], ["planted"] * len(prompts)
    )
    model.adapted.remove("planted")
    questions = tuple(Question(p, (a.text.strip(),)) for p, a in zip(prompts, answers, strict=True))
    prompt = Prompt("{question}", answer=" {answer}")
    return GenerativeTask(
        "planted", questions, scorer_named("exact"), prompt=prompt, stop=(), max_tokens=tokens
    )


def shots_of(task, first=0, last=len(PROMPTS)):
    return Chosen(task.name, "search", ((task, np.arange(first, last)),))


def test_a_planted_mixture_is_found_and_compared_on_held_out_samples(model):
    task = task_of(model, (0.8, 0.0, 0.0))
    held_out = shots_of(task, len(PROMPTS), len(PROMPTS) + len(HELD_OUT))
    settings = MixtureSearch(budget=400, patience=10)
    seen = []
    found = search_mixture(model, shots_of(task), held_out, settings, watch=seen.append)
    assert found.stopped == "all right"
    assert found.mixture.weights == pytest.approx((0.8, 0, 0), abs=0.1)
    by_name = {each.name: each for each in found.standings}
    assert list(by_name) == ["mixture", *NAMES, "uniform", "base"]
    assert by_name["mixture"].shots == 1.0 > max(by_name[name].shots for name in (*NAMES, "uniform", "base"))
    assert by_name["mixture"].held_out.value >= by_name["cats"].held_out.value
    assert tuple(seen) == found.history
    assert [g.evaluations for g in seen] == sorted(g.evaluations for g in seen)
    assert [g.best for g in seen] == sorted(g.best for g in seen)
    assert (found.shots, found.held_out) == (6, 2)
    assert list(model.adapted.experts) == list(NAMES)  # candidates are gone


def test_one_expert_alone_is_among_the_first_and_ends_the_search(model):
    task = task_of(model, (0.0, 1.0, 0.0))
    found = search_mixture(model, shots_of(task))
    assert found.mixture == Mixture(NAMES, (0.0, 1.0, 0.0))
    assert len(found.history) == 1
    assert all(each.held_out is None for each in found.standings)


def test_the_base_is_searched_too(model):
    found = search_mixture(model, shots_of(task_of(model, (0, 0, 0))))
    assert found.mixture.weights == (0, 0, 0)
    assert {each.name: each.shots for each in found.standings}["base"] == 1.0


def test_the_budget_holds_and_the_same_seed_finds_the_same(model):
    task = task_of(model, (0.45, 0.5, 0.6))
    settings = MixtureSearch(budget=25, cem=CrossEntropy(population=10, seed=5))
    found, again = (search_mixture(model, shots_of(task), settings=settings) for _ in range(2))
    assert found.stopped == "budget"
    assert found.history[-1].evaluations == 25
    assert found.history == again.history
    assert found.mixture == again.mixture
    other = MixtureSearch(budget=25, cem=CrossEntropy(population=10, seed=6))
    assert search_mixture(model, shots_of(task), settings=other).history != found.history


def test_it_stops_when_nothing_improves(model):
    task = task_of(model, (1.0, 0, 0))
    wrong = task.part([Question(q.text, ("no such answer",)) for q in task.questions], "all")
    still = CrossEntropy(population=6, spread=0.0, floor=0.0, elites=0.01)
    found = search_mixture(model, shots_of(wrong), settings=MixtureSearch(patience=2, cem=still))
    assert found.stopped == "nothing improves"
    assert len(found.history) <= 5


def test_weights_may_differ_from_matrix_to_matrix(model, experts):
    matrices = list(experts["cats"])
    weights = {m: ((1.0, 0.0, 0.0) if ".0." in m else (0.0, 0.0, 1.0)) for m in matrices}
    task = task_of(model, weights)
    settings = MixtureSearch(per_matrix=True, budget=12, starts=(Mixture(NAMES, weights),))
    found = search_mixture(model, shots_of(task), settings=settings)
    assert found.stopped == "all right"
    assert dict(found.mixture.weights) == weights
    assert found.mixture.mean_weights() == pytest.approx({"cats": 0.2, "dogs": 0.0, "birds": 0.8})


def test_choices_break_ties_by_the_margin(model):
    questions = tuple(Question(p, (), (" ran", " sat"), k % 2) for k, p in enumerate(PROMPTS))
    task = ChoiceTask("choices", questions)
    settings = MixtureSearch(budget=8, cem=CrossEntropy(population=8))
    found = search_mixture(model, shots_of(task), settings=settings)
    assert found.history[-1].tie < 0
    for each in found.standings:
        assert each.shots <= found.standings[0].shots


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": (0, 0)}, "at least one shot"),
        ({"held_out": (1, 3)}, "2 of the held-out samples are among the shots"),
        ({"experts": ["cats", "fish"]}, "There is no expert 'fish'; there are: cats, dogs, birds"),
        ({"settings": MixtureSearch(starts=(Mixture(("x",), (1,)),))}, "has an expert 'x'"),
        (
            {"settings": MixtureSearch(starts=(Mixture(NAMES, {"a": (1, 0, 0)}),))},
            "weights for 1 matrices, but 0",
        ),
    ],
)
def test_misuse_is_said(model, change, message):
    task = task_of(model, (1, 0, 0), tokens=2)
    shots = shots_of(task, *change.pop("shots", (0, 3)))
    held_out = change.pop("held_out", None)
    with pytest.raises(ValueError, match=message):
        search_mixture(model, shots, held_out and shots_of(task, *held_out), **change)


@pytest.mark.parametrize("wrong", [{"budget": 0}, {"patience": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        MixtureSearch(**wrong)


@pytest.mark.parametrize("weights", [(1,), (1, float("nan")), {"m": (1, 2, 3)}, {}])
def test_a_mixture_needs_a_finite_weight_for_each(weights):
    with pytest.raises(ValueError, match="Expected"):
        Mixture(("a", "b"), weights)
