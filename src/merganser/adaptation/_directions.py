r"""$y = U(c \circ V^\top x)$ and its gradients, with nothing of a matrix's size made on the way.

With $h = V^\top x$ and the gradient $g$ of $y$: $\partial c = \sum_{\text{tokens}} (U^\top g) \circ h$ and
$\partial x = V(c \circ U^\top g)$. $U$ and $V$ get none. Only $h$ is kept for them, in the type of the inputs;
coefficients, and the sum over tokens, are float32.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Directions(torch.autograd.Function):
    """The product with its own gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficients: Tensor, inward: Tensor, outward: Tensor) -> Tensor:
        h = x @ inward.T
        ctx.save_for_backward(h, coefficients, inward, outward)
        return (h * coefficients).to(x.dtype) @ outward

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        h, coefficients, inward, outward = ctx.saved_tensors
        back = gradients[0] @ outward.T
        of_x = of_c = None
        if ctx.needs_input_grad[1]:
            of_c = (back.to(coefficients.dtype) * h).sum_to_size(coefficients.shape)
        if ctx.needs_input_grad[0]:
            of_x = (back * coefficients).to(h.dtype) @ inward
        return of_x, of_c, None, None


def along_directions(
    x: Float[Tensor, "*batch inputs"],
    coefficients: Float[Tensor, "*#batch directions"],
    inward: Float[Tensor, "directions inputs"],
    outward: Float[Tensor, "directions outputs"],
) -> Float[Tensor, "*batch outputs"]:
    r"""$U(c \circ V^\top x)$ for every row of inputs; differentiable once, by `x` and `coefficients`.

    Args:
        x: Inputs.
        coefficients: $c$: for all rows, or broadcast against them.
        inward: $V^\top$.
        outward: $U^\top$.
    """
    return _Directions.apply(x, coefficients, inward, outward)  # pyright: ignore[reportReturnType]
