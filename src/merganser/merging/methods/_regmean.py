r"""RegMean and RegMean++: for every linear layer the weight that answers all models' inputs best, in closed form.

Let $X_t$ be the inputs of a layer in model $t$ and $W_t$ its weight, (out, in). The weight with the least squared error

$$\min_W \sum_t \lVert X_t W^\top - X_t W_t^\top \rVert_F^2 \qquad\text{is}\qquad
W = \Big(\sum_t W_t\, \tilde G_t\Big) \Big(\sum_t \tilde G_t\Big)^{-1}, \quad G_t = X_t^\top X_t .$$

In $\tilde G_t$ the elements off the diagonal are scaled by $\alpha$: correlations of few inputs are not believed whole.

| method | inputs $X_t$ |
| --- | --- |
| regmean | of model $t$ |
| regmean_plus_plus | of model $t$'s block, when what comes before it is merged already |

The default $\alpha$ is the 0.9 that the authors use for language models. Where `benchmarks/` tuned it, 1 was chosen
on the digits for both methods (5 of 5 seeds, 0.7 points better on average) and on image tasks for `regmean_plus_plus`
(3 of 3, 4 points), for `regmean` there on 1 of 3. On language models it has not been tuned here, so it stays.

Both are one formula on Gram matrices that were measured differently: `models` measures them.

Ours and the authors': $G_t$ is a mean over inputs here, not a sum, so that models count alike however much data each
was measured on. To every $\tilde G_t$ we add $\rho I$ with $\rho$ the mean diagonal of all, times `ridge`: where no
model had inputs the result is the mean of the weights. With $M$ that mean we solve for what is to be added to it,

$$W = M + \Big(\sum_t (W_t - M)\, \tilde G_t\Big) \Big(\sum_t \tilde G_t + T \rho I\Big)^{-1},$$

which is the same, and gives back exactly what all models have in common. Tensors without a Gram matrix (biases, norms,
embeddings) become the mean.

References:
    Jin et al., *Dataless Knowledge Fusion by Merging Weights of Language Models*, ICLR 2023,
    https://arxiv.org/abs/2212.09849
    Nguyen et al., *RegMean++: Enhancing Effectiveness and Generalization of Regression Mean for Model Merging*,
    TMLR 2026, https://arxiv.org/abs/2508.03121
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._matrices import whole
from merganser.merging.methods._method import MergeMethod, Part, Rule, Scan, Scope, parameter
from merganser.merging.methods._span import weighted_sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True)
class _Regression(MergeMethod):
    """What both have in common, which is all but where inputs come from."""

    alpha: float = parameter(
        "factor on the elements of Gram matrices off the diagonal", 0.9, low=0.0, high=1.0
    )
    ridge: float = parameter(
        "pull towards the mean, beside the mean diagonal of the Gram matrices", 1e-6, low=0.0
    )

    @property
    def scope(self) -> Scope:
        """Whole matrices."""
        return "tensor"

    def whole_tensors(self, models: int) -> int:
        """The weights, and some four matrices in float64; Gram matrices come on top."""
        return models + 8

    def prepare(self, scan: Scan) -> Float[Tensor, " elements"] | None:
        """The merged weight; None where it is the mean."""
        grams = scan.grams
        if grams is None or not scan.numel or not scan.shape:
            return None
        held = whole(scan)
        weights = held.view(scan.models, scan.shape[0], -1)
        weights = weights.mT if grams.inputs_first else weights
        merged = regression_mean(weights, grams.read, alpha=self.alpha, ridge=self.ridge)
        return (merged.T if grams.inputs_first else merged).to(held.dtype).flatten()

    def combine(self, part: Part, stats: Float[Tensor, " elements"] | None) -> Float[Tensor, " elements"]:
        """Its elements."""
        first = part.values[0]
        if stats is None:
            return weighted_sum(part, np.full(len(part.values), 1 / len(part.values)))
        return first.copy_(stats[part.begin : part.begin + len(first)])


@final
@dataclass(frozen=True)
class RegMean(_Regression):
    """The weight that is nearest to each model's on that model's own inputs."""

    rule: ClassVar[Rule] = Rule(
        "for every layer the weight nearest to each model's on its own inputs, by least squares",
        "2212.09849",
        base="refused",
        space="weights",
        laws=frozenset({"idempotent", "symmetric"}),
        statistics="gram",
    )


@final
@dataclass(frozen=True)
class RegMeanPlusPlus(_Regression):
    """The same, on inputs that come through what is merged already."""

    rule: ClassVar[Rule] = Rule(
        "the same, on inputs that come through the merged layers before it",
        "2508.03121",
        base="refused",
        space="weights",
        laws=frozenset({"idempotent", "symmetric"}),
        statistics="merged_gram",
    )


def regression_mean(
    weights: Float[Tensor, "models outputs inputs"],
    gram: Callable[[int], Float[Tensor, "inputs inputs"]],
    *,
    alpha: float,
    ridge: float,
) -> Float[Tensor, "outputs inputs"]:
    r"""The weight $W$ of the module's docstring, in float64.

    Args:
        weights: $W_t$, one model after the other.
        gram: $G_t$ by the model's place; asked for once each.
        alpha: Factor off the diagonal, in [0, 1].
        ridge: $\rho$ beside the mean diagonal, at least 0; with 0 directions without inputs keep the mean.

    Raises:
        ValueError: If a weight or Gram matrix holds NaN or infinite numbers.

    Examples:
        A model that saw only the first input, and one that saw only the second:

        >>> import torch
        >>> weights, seen = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), torch.eye(2)
        >>> regression_mean(weights, lambda t: torch.diag(seen[t]), alpha=1.0, ridge=0.0)
        tensor([[1., 4.]], dtype=torch.float64)
    """
    import torch

    mean = sum(weight.double() for weight in weights) / len(weights)
    assert isinstance(mean, torch.Tensor)
    rows, columns = mean.shape
    normal, towards = mean.new_zeros(columns, columns), mean.new_zeros(rows, columns)
    for t, weight in enumerate(weights):
        measured = gram(t).to(mean)
        shrunk = alpha * measured
        shrunk.diagonal().copy_(measured.diagonal())
        normal += shrunk
        towards.addmm_(weight.double() - mean, shrunk)
    if not (torch.isfinite(normal).all() and torch.isfinite(towards).all()):
        raise ValueError("A weight or a Gram matrix holds NaN or infinite numbers, or some too large.")
    normal.diagonal().add_(ridge * normal.diagonal().mean())
    factor, failed = torch.linalg.cholesky_ex(normal)
    if ridge == 0 or failed.item():  # singular, or so near that its inverse would be made of rounding
        return mean + towards @ torch.linalg.pinv(normal, hermitian=True)
    return mean + torch.cholesky_solve(towards.T, factor).T
