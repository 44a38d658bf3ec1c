"""A layer that has its weight as the file has it; imports torch, so it is imported where it is used."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Dense(nn.Module):
    """$y = W x + b$.

    Args:
        weight: $W$, (outputs, inputs), or its transpose.
        bias: $b$; None for none.
        inputs_first: Whether the weight is (inputs, outputs).
    """

    def __init__(
        self, weight: Float[Tensor, "a b"], bias: Float[Tensor, " outputs"] | None, *, inputs_first: bool
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = None if bias is None else nn.Parameter(bias.clone())
        self.inputs_first = inputs_first

    def forward(self, inputs: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """The outputs."""
        return functional.linear(inputs, self.weight.T if self.inputs_first else self.weight, self.bias)
