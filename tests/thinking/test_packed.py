"""Large matrices that are laid out for their products give what they give as they are."""

import pytest
import torch
from torch.nn import functional

from merganser.thinking._packed import linear_of
from merganser.thinking._tied import TiedMap

LARGE = (700, 401)


def drawn(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 40])
def test_a_matrix_laid_out_gives_the_product_whatever_the_number_of_rows(rows, transposed):
    matrix = drawn(*LARGE[::-1]).t() if transposed else drawn(*LARGE)
    inputs, bias = drawn(rows, LARGE[1]), drawn(LARGE[0])
    linear = linear_of(matrix, rows=5, uses=100)
    exact = functional.linear(inputs.double(), matrix.double(), bias.double())
    assert (linear(inputs, bias=bias) - exact).abs().max() < 1e-6 * exact.abs().max()
    assert (linear(inputs) - (exact - bias)).abs().max() < 1e-6 * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_map_that_many_ticks_share_has_the_gradients_of_a_linear_map(dtype):
    weight, bias = (drawn(*shape, dtype=dtype).requires_grad_() for shape in (LARGE, LARGE[:1]))
    inputs = drawn(20, 3, LARGE[1], dtype=dtype).requires_grad_()
    tied = TiedMap(weight, bias, 3, ticks=20)
    found = torch.stack([tied(each) for each in inputs])
    tensors = [weight, bias, inputs]
    exact = functional.linear(*(tensor.double() for tensor in (inputs, weight, bias)))
    assert (found - exact).abs().max() < 1e-6 * exact.abs().max()
    gradient = drawn(20, 3, LARGE[0], dtype=dtype)
    mine = torch.autograd.grad(found, tensors, gradient)
    for one, other in zip(mine, torch.autograd.grad(exact, tensors, gradient.double()), strict=True):
        assert (one - other).abs().max() < 2e-6 * other.abs().max()


def test_a_matrix_of_few_uses_stays_as_it_is():
    matrix = drawn(*LARGE)
    inputs = drawn(2, LARGE[1])
    linear = linear_of(matrix, rows=2, uses=1)
    before = linear(inputs)
    matrix.zero_()
    assert before.any()
    assert not linear(inputs).any()
