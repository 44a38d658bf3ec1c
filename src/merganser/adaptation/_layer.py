"""A linear layer that adds what an expert changes to what it puts out."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from merganser.adaptation._directions import along_directions
from merganser.adaptation._factors import Factors
from merganser.adaptation._parametrise import Parametrisation, gains_of
from merganser.models import LinearLayer


class AdaptedLayer:
    r"""Stands in for a layer's `forward` until `release`; the layer itself, its name and its weights stay.

    | state | output |
    | --- | --- |
    | no expert | the layer's own |
    | additive | the layer's own $+\ U(\sigma(e-1) \circ V^\top x)$ |
    | factored | $U(\sigma e \circ V^\top x)$ + bias |

    Args:
        layer: The layer.
        factors: Of its weight, as it is stored.

    Attributes:
        vector: Numbers of the active expert, one for each leading direction, or a row of them for each request;
            None for none.
        parametrisation: What they are.
        is_factored: Whether the weight itself is left out of the computation.
    """

    def __init__(self, layer: LinearLayer, factors: Factors) -> None:
        like = layer.weight
        dtype = like.dtype if like.is_floating_point() and like.dtype.itemsize > 1 else torch.float32
        inward, outward = (
            (factors.left, factors.right) if layer.inputs_first else (factors.right, factors.left)
        )
        self.inward, self.outward = inward.to(like.device, dtype), outward.to(like.device, dtype)
        self.sigma = factors.sigma.to(like.device)
        self.is_whole = len(factors.sigma) == min(factors.shape)
        self.vector: Tensor | None = None
        self.parametrisation: Parametrisation = "plain"
        self.is_factored = False
        self._module, self._own = layer.module, layer.module.forward
        self._had_own = "forward" in vars(layer.module)  # another tool's, in front of the class's
        layer.module.forward = self

    def __call__(self, x: Float[Tensor, "*batch inputs"], *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output."""
        if self.vector is None:
            return self._own(x, *args, **kwargs)
        directions = self.vector.shape[-1]
        sigma = self.sigma[:directions]
        gains = gains_of(self.vector, sigma, self.parametrisation)
        coefficients = _spread(sigma * (1 + gains if self.is_factored else gains), x)
        inputs = x.to(self.inward.dtype)
        changed = along_directions(inputs, coefficients, self.inward[:directions], self.outward[:directions])
        if not self.is_factored:
            own = self._own(x, *args, **kwargs)
            return own + changed.to(own.dtype)
        bias = self._module.bias
        return changed + bias if isinstance(bias, Tensor) else changed

    def release(self) -> None:
        """Give the layer its own `forward` back."""
        if self._had_own:
            self._module.forward = self._own
        else:
            del self._module.forward


def is_adapted(module: nn.Module) -> bool:
    """Whether a layer is adapted already."""
    return isinstance(module.forward, AdaptedLayer)


def _spread(
    coefficients: Float[Tensor, "*rows directions"], x: Float[Tensor, "*batch inputs"]
) -> Float[Tensor, "*#batch directions"]:
    """Coefficients, one row for each request, beside inputs with more axes."""
    if coefficients.ndim == 1:
        return coefficients
    if x.ndim < 2 or len(x) != len(coefficients):
        raise ValueError(
            f"Expected {len(coefficients)} requests along the first axis, one for each name given to `rows`, found "
            f"inputs of shape {tuple(x.shape)}. Set the experts of this batch, or one for all."
        )
    return coefficients.view(len(x), *[1] * (x.ndim - 2), -1)
