r"""Synchronisation: how much two neurons' activations went together, the recent past counting more.

For a pair $p = (i, j)$ with decay $\theta_p \ge 0$ and $r_p = e^{-\theta_p}$:

| quantity | recurrence | here |
| --- | --- | --- |
| sum of products | $\alpha_p \leftarrow r_p \alpha_p + z_i z_j$ | [`Decayed`][]`.alpha` |
| sum of weights | $\beta_p \leftarrow r_p \beta_p + 1$ | [`Decayed`][]`.beta`, the same for the whole batch |
| synchronisation | $s_p = \alpha_p / \sqrt{\beta_p}$ | [`Decayed.value`][] |

The first term is the learnt start's. Sums are in float32 where activations are of half precision.
The paper's agents see the last M ticks only: [`Synchronisation.sliding`][].

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, eq. 8 to 10 and appendix H, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from merganser.thinking._config import CTMConfig


class Decayed(NamedTuple):
    """Running sums of all pairs."""

    alpha: Float[Tensor, "pairs batch"]
    beta: Float[Tensor, "pairs #batch"]

    def value(self) -> Float[Tensor, "pairs batch"]:
        """Synchronisation of all pairs."""
        return self.alpha * self.beta.rsqrt()

    def rows(self, rows: Tensor) -> Decayed:
        """These rows of the batch alone."""
        shared = self.beta.shape[-1] != self.alpha.shape[-1]
        return Decayed(self.alpha[:, rows], self.beta if shared else self.beta[:, rows])


class Synchronisation(nn.Module):
    """Synchronisation of chosen pairs of neurons.

    Args:
        left: One neuron of each pair.
        right: The other.
        max_decay: Largest θ; training projects parameters onto [0, max_decay] before each thought.
    """

    left: Tensor
    right: Tensor

    def __init__(
        self, left: Int64[Tensor, " pairs"], right: Int64[Tensor, " pairs"], max_decay: float
    ) -> None:
        super().__init__()
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.decay = nn.Parameter(torch.zeros(len(left)))
        self.max_decay = max_decay

    def rates(self) -> Float[Tensor, "pairs 1"]:
        """r, what a tick leaves of the sums."""
        return torch.exp(-self._exponents()).unsqueeze(-1)

    def products(
        self, activations: Float[Tensor, "*ticks neurons batch"]
    ) -> Float[Tensor, "*ticks pairs batch"]:
        """$z_i z_j$ of all pairs."""
        left = activations.index_select(-2, self.left)
        right = activations.index_select(-2, self.right)
        if left.dtype in (torch.bfloat16, torch.float16):
            left, right = left.float(), right.float()
        return left * right

    def begin(self, activations: Float[Tensor, "neurons batch"]) -> Decayed:
        """The sums after their first term."""
        alpha = self.products(activations)
        return Decayed(alpha, torch.ones_like(alpha[:, :1]))

    def nothing(self, activations: Float[Tensor, "neurons batch"]) -> Decayed:
        """The sums before their first term, which are zero."""
        alpha = torch.zeros_like(self.products(activations))
        return Decayed(alpha, alpha[:, :1])

    def follow(
        self, decayed: Decayed, activations: Float[Tensor, "ticks neurons batch"]
    ) -> tuple[Float[Tensor, "ticks pairs batch"], Decayed]:
        """Synchronisation after each of several ticks, and the sums after the last."""
        rates = self.rates()
        values: list[Tensor] = []
        for product in self.products(activations).unbind(0):
            decayed = advance(decayed, product, rates)
            values.append(decayed.value())
        return torch.stack(values), decayed

    def sliding(
        self, recent: Float[Tensor, "times neurons batch"], memory: int
    ) -> Float[Tensor, "ticks pairs batch"]:
        """Synchronisation over the last `memory` ticks, for every tick that has as many.

        Args:
            recent: Activations, oldest first; `memory` - 1 of them lie before the first tick that is wanted.
            memory: Length of the window.
        """
        products = self.products(recent)
        age = torch.arange(memory - 1, -1, -1, device=products.device).view(-1, 1, 1)
        weights = torch.exp(-age * self._exponents().view(1, -1, 1))
        ticks = len(products) - memory + 1
        sums = [(weights * products[t : t + memory]).sum(0) for t in range(ticks)]
        return torch.stack(sums) * weights.sum(0).rsqrt()

    def _exponents(self) -> Float[Tensor, " pairs"]:
        if self.training:
            # a clamp alone would give no gradient outside and so never let a parameter come back
            self.decay.data.clamp_(0, self.max_decay)
        return self.decay.clamp(0, self.max_decay)


def advance(
    decayed: Decayed, product: Float[Tensor, "pairs batch"], rates: Float[Tensor, "pairs 1"]
) -> Decayed:
    """The sums one tick later."""
    return Decayed(torch.addcmul(product, rates, decayed.alpha), rates * decayed.beta + 1)


def pairs_of(config: CTMConfig, which: str) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]:
    """The pairs of neurons whose synchronisation is read, as two lists.

    Args:
        config: Says how they are chosen; its seed draws them.
        which: ``"output"``, or ``"action"`` for what attention asks with.
    """
    count = config.output_neurons if which == "output" else config.action_neurons
    if config.pairing == "first-last":
        first = 0 if which == "output" and not config.sliding else config.neurons - count
        chosen = torch.arange(first, first + count)
        return all_pairs(chosen, chosen)
    generator = torch.Generator().manual_seed(2 * config.seed + (which == "action"))
    left, right = torch.randint(config.neurons, (2, count), generator=generator)
    if config.pairing == "random":
        return all_pairs(left, right)
    right[: config.self_pairs] = left[: config.self_pairs]
    return left, right


def all_pairs(
    left: Int64[Tensor, " n"], right: Int64[Tensor, " n"]
) -> tuple[Int64[Tensor, " pairs"], Int64[Tensor, " pairs"]]:
    """Pairs of a neuron at place i of one list with one at place j ≥ i of the other: n (n + 1) / 2 of them.

    Examples:
        >>> [each.tolist() for each in all_pairs(torch.tensor([5, 6]), torch.tensor([7, 8]))]
        [[5, 5, 6], [7, 8, 8]]
    """
    i, j = torch.triu_indices(len(left), len(right), device=left.device)
    return left[i], right[j]
