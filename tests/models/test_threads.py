"""Small models run on one thread, whoever runs them; large ones on what they are given."""

from __future__ import annotations

import pytest
import torch

from merganser import load
from merganser.models import Continuation, GenerationRequest, _threads, collect, threads_for
from merganser.models._hooks import evaluating


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model(stories):
    """A language model, and with how many threads it is run."""
    model, seen = load(stories), []
    model.module.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    return model, seen


def use(model):
    model.generate([GenerationRequest("Once", max_tokens=2)])
    model.log_likelihoods([Continuation("Once", " upon")])
    inputs = torch.tensor([[1, 2, 3]])
    collect(model.module, [{"input_ids": inputs}])


def test_a_small_model_runs_on_one_thread_and_leaves_the_others_theirs(model):
    model, seen = model
    use(model)
    assert len(seen) >= 4
    assert set(seen) == {1}
    assert torch.get_num_threads() == 3


def test_a_large_model_runs_on_as_many_as_there_are(model, monkeypatch):
    model, seen = model
    monkeypatch.setattr(_threads, "_THREADED", model.size)
    use(model)
    assert set(seen) == {3}


def test_threads_are_given_back_after_a_failure():
    with pytest.raises(ZeroDivisionError), evaluating(torch.nn.Linear(2, 2)):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 3


def test_models_of_sixteen_million_parameters_are_worth_several_threads():
    assert threads_for(260_032) == 1
    assert threads_for((1 << 24) - 1) == 1
    assert threads_for(1 << 24) >= 1
