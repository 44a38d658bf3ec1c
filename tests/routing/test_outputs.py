"""Products of experts: against the formula, at the optimum, and as language models."""

from pathlib import Path

import numpy as np
import pytest
import torch

from merganser import TaskError
from merganser._errors import NonFiniteOutputError
from merganser.models import Continuation, GenerationRequest, load
from merganser.routing import ProductModel, ProductOfExperts
from merganser.routing.layers import TokenWindows

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


def made(rows=400, answers=5, seed=0):
    """Logits of three experts, of which the second knows most and the third nothing, and right answers."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, answers, rows)
    logits = random.normal(size=(3, rows, answers))
    logits[0, np.arange(rows), labels] += 0.5
    logits[1, np.arange(rows), labels] += 2.0
    return logits, labels


def slow_loss(scalars, logits, labels):
    """The formula, row by row."""
    total = 0.0
    for row, label in enumerate(labels):
        joint = np.zeros(logits.shape[2])
        for scalar, expert in zip(scalars, logits, strict=True):
            p = np.exp(expert[row]) / np.exp(expert[row]).sum()
            joint += scalar * np.log(p)
        total -= joint[label] - np.log(np.exp(joint).sum())
    return total / len(labels)


def test_the_loss_is_that_of_the_formula():
    logits, labels = made(20)
    product = ProductOfExperts((0.7, 1.3, -0.2))
    assert product.loss([(logits, labels)]) == pytest.approx(slow_loss(product.scalars, logits, labels))


def test_fitting_finds_the_minimum_that_a_general_optimizer_finds():
    logits, labels = made()
    halves = [(logits[:, :150], labels[:150]), (logits[:, 150:], labels[150:])]
    fitted = ProductOfExperts.fit(halves)
    likely = torch.tensor(logits).log_softmax(-1)
    scalars = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([scalars], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            torch.einsum("e,ery->ry", scalars, likely), torch.tensor(labels)
        )
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(fitted.scalars, scalars.detach().numpy(), atol=1e-4)
    first, second, third = fitted.scalars
    assert second > first > third


def test_equal_experts_share_their_weight():
    logits, labels = made()
    product = ProductOfExperts.fit([(logits[[1, 1]], labels)])
    assert product.scalars[0] == pytest.approx(product.scalars[1])


def test_what_cannot_be_fitted_is_refused():
    logits, labels = made(10)
    with pytest.raises(TaskError, match="found none"):
        ProductOfExperts.fit([])
    logits[0, 3] = np.nan
    with pytest.raises(NonFiniteOutputError, match="NaN"):
        ProductOfExperts.fit([(logits, labels)])
    with pytest.raises(ValueError, match="logits of 2 experts, found those of 3"):
        ProductOfExperts((1.0, 1.0)).log_probabilities(logits)


@pytest.fixture(scope="module")
def two():
    """A storyteller, and one whose MLPs were disturbed."""
    models = [load(STORIES), load(STORIES)]
    generator = torch.Generator().manual_seed(0)
    for name, place in models[1].places.items():
        if ".mlp." in name:
            place += 0.1 * torch.randn(place.shape, generator=generator)
    return models


ASKED = [
    Continuation("Once upon a", " time"),
    Continuation("The dog", " ran away."),
    Continuation("", "She said"),
]


def test_a_product_of_one_model_with_itself_is_the_model(two):
    alone, product = two[0], ProductModel([two[0], two[0]], ProductOfExperts((0.25, 0.75)))
    for mine, its in zip(product.log_likelihoods(ASKED), alone.log_likelihoods(ASKED), strict=True):
        assert mine.total == pytest.approx(its.total, abs=1e-4)
    asked = [
        GenerationRequest(prompt, max_tokens=15) for prompt in ("Once upon a time", "Lily and the dog went")
    ]
    assert product.generate(asked) == alone.generate(asked)


def test_generating_with_caches_gives_what_reading_anew_gives(two):
    product = ProductModel(two, ProductOfExperts((0.6, 0.7)))
    asked = [
        GenerationRequest(prompt, max_tokens=10) for prompt in ("Once upon a time", "The", "Lily and the dog")
    ]
    for request, response in zip(asked, product.generate(asked), strict=True):
        ids = list(product.tokens.prompt(request.prompt))
        with torch.inference_mode():
            for _ in range(response.tokens):
                likely = [m.module(torch.tensor([ids])).logits[0, -1].log_softmax(-1) for m in two]
                ids.append(int((0.6 * likely[0] + 0.7 * likely[1]).argmax()))
        assert product.tokens.text(ids) == request.prompt + response.text


def test_fitting_to_stories_trusts_the_storyteller(two):
    told = two[0].generate(
        [GenerationRequest(prompt, max_tokens=60) for prompt in ("Once", "The dog", "Lily")]
    )
    data = TokenWindows([said.text for said in told], two[0].tokens, most_tokens=32)
    product = ProductModel.fit(two, data)
    assert product.product.scalars[0] > product.product.scalars[1]


def test_misfits_are_refused(two):
    with pytest.raises(ValueError, match="Expected 3 models"):
        ProductModel(two, ProductOfExperts((1.0, 1.0, 1.0)))
