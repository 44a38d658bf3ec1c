r"""NeuroMerging: split the task vectors of every neuron at the base's weights, and merge what is orthogonal to them.

A neuron is a row of a matrix stored (out, in), that is all weights into one output; kernels are flattened, and so a
token's row in an embedding or a head is one too. With base weights $w$ and task vectors $\tau_t$ of a neuron:

| step | formula | here |
| --- | --- | --- |
| trim | keep the `density` largest $\lvert\tau\rvert$ of the model | [`largest`][], as TIES |
| split | $a_t = \langle\tau_t, w\rangle / \lVert w\rVert^2$, $\ \tau_t^\perp = \tau_t - a_t w$ | [`along_base`][] |
| parallel | $\psi^\parallel = \mathrm{em}(a)\, w$ | [`elected_mean`][] |
| orthogonal | $\psi^\perp = \sum_j \mathrm{em}(P v_j)\, v_j$, where $P = U S V^\top$ | [`orthogonal_weights`][] |
| add | $\theta = \theta_0 + \lambda_\parallel \psi^\parallel + \lambda_\perp \psi^\perp$ | the executor adds the base |

$P$ stacks the $\tau_t^\perp$ as rows; $\mathrm{em}$ is TIES' rule on $T$ numbers: the mean of those that agree with the
sign of their sum. Vectors and scalars (biases, norms), and neurons whose base is zero, are merged by TIES' rule, entry
by entry, with $\lambda_\perp$. `rescale` multiplies $\lambda_\perp$ with $1 / (1 - \sigma)$, where $\sigma$ is the
share of its L1 norm that the trim took from the model that lost most; where models conflict this overshoots, so `cap`
bounds it.

What the rule does: of task vectors that have little in common, which is the usual case, and differ in length, each is
one direction, in which the others have tiny coordinates of random sign; all of them count. So a vector's weight is
$(2^T - 1) / (T\, 2^{T - 1})$ on average, about $2/T$, and hangs on those signs: noise of one part in a million moves
the result by half. `count="thresholded"` leaves coordinates out that are at most 0.3 of the direction's largest: such
vectors then add up, each with weight 1, and tiny coordinates decide nothing. Where singular values coincide, directions
are not unique and neither rule's result is: hence no law that the order of the models does not matter, though for
vectors in general position it does not.

Differences from the authors' code: there $\psi^\parallel = \mathrm{em}(a)\, w / \lVert w\rVert$, though $a$ is
relative to $w$ (of no effect with their $\lambda_\parallel = 0$); a sum that is exactly zero takes the sign of the
majority of directions, whose own signs are arbitrary, while here nothing is added; and a row of zeros gives NaN.
A neuron with a single weight has no orthogonal part.

References:
    Fang et al., *To See a World in a Spark of Neuron: Disentangling Multi-task Interference for Training-free Model
    Merging*, EMNLP 2025, https://arxiv.org/abs/2503.05320
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, cast, final

import numpy as np
from jaxtyping import Float

from merganser.merging.methods._consensus import elected_sum
from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, Scan, Scope, parameter
from merganser.merging.methods._neurons import (
    add_rows,
    along_base,
    elected_mean,
    orthogonal_gram,
    orthogonal_weights,
    row_products,
)
from merganser.merging.methods._runs import run_sums
from merganser.merging.methods._select import Wanted, largest, magnitudes
from merganser.merging.methods._ties import kept, trim_
from merganser.weights import row_run

if TYPE_CHECKING:
    from torch import Tensor

_SMALL = 0.3
"""Part of a direction's largest coordinate up to which others are not counted, if that is asked for."""


class Trim(NamedTuple):
    """What the trim does.

    Args:
        thresholds: Least magnitude kept, of each model.
        removed: Share of its L1 norm that the model loses that loses most, in [0, 1].
    """

    thresholds: list[float]
    removed: float


@final
@dataclass(frozen=True)
class NeuroMerging(MergeMethod):
    """Trim, split every neuron at its base weights, merge the orthogonal parts along their principal directions."""

    rule: ClassVar[Rule] = Rule(
        "neuron by neuron: what is orthogonal to the base's weights, averaged along principal directions",
        "2503.05320",
        laws=frozenset({"fixed_base"}),
    )
    density: PerModel = parameter("fraction of entries kept", 0.2, low=0.0, high=1.0)
    lambda_orthogonal: float = parameter("scale of what is orthogonal to the base", 1.0)
    lambda_parallel: float = parameter("scale of what is parallel to the base", 0.0)
    rescale: str = parameter(
        "factor on lambda_orthogonal: 1/(1 − share of L1 norm that the trim removed), or 1",
        "l1",
        choices=("l1", "none"),
    )
    cap: float = parameter("greatest factor that rescale may take", 3.0, low=1.0)
    count: str = parameter(
        "count all coordinates that agree, as published, or only those above 0.3 of the largest",
        "literal",
        choices=("literal", "thresholded"),
    )
    scope_: str = parameter(
        "trim over the whole model, as published, or each tensor on its own",
        "model",
        choices=("model", "tensor"),
    )

    @property
    def scope(self) -> Scope:
        """Where the trim is measured."""
        return cast('Literal["model", "tensor"]', self.scope_)

    @property
    def whole_rows(self) -> bool:
        """A neuron is merged as a whole."""
        return True

    @property
    def neurons(self) -> bool:
        """A kernel's row is all of it that belongs to one output."""
        return True

    @property
    def outputs_first(self) -> bool:
        """Rows are neurons."""
        return True

    @property
    def measured(self) -> Hashable:
        """Densities decide what is removed; how much that is, is measured only where it counts."""
        return type(self), self.density, self._rescales

    def prepare(self, scan: Scan) -> Trim:
        """Thresholds, and what they remove."""
        wanted = [Wanted(i, kept(density, scan.numel)) for i, density in enumerate(self.density)]
        thresholds = largest(scan, magnitudes, wanted)
        trims = scan.numel > 0 and any(density < 1 for density in self.density)
        return Trim(thresholds, _removed(scan, thresholds) if self._rescales and trims else 0.0)

    def combine(self, part: Part, stats: Trim) -> Float[Tensor, " elements"]:
        """Trim, split, merge."""
        for delta, threshold in zip(part.values, stats.thresholds, strict=True):
            trim_(delta, threshold)
        scale = self._scale(stats.removed)
        if len(part.shape) < 2:
            return _by_entry(part.values, scale)
        _refuse_transposed(part)
        products = row_products(part)
        merged = add_rows(part, self._coefficients(products, scale))
        is_dead = products[:, -1, -1] == 0
        if is_dead.any():
            rows = np.flatnonzero(is_dead)
            values = part.values.view(len(part.values), -1, part.columns)[:, rows]
            merged.view(-1, part.columns)[rows] = _by_entry(values.flatten(1), scale).view(-1, part.columns)
        return merged

    @property
    def _rescales(self) -> bool:
        return self.rescale == "l1"

    def _scale(self, removed: float) -> float:
        if not self._rescales:
            return self.lambda_orthogonal
        return self.lambda_orthogonal * min(self.cap, 1 / (1 - removed) if removed < 1 else self.cap)

    def _coefficients(
        self, products: Float[np.ndarray, "rows vectors vectors"], scale: float
    ) -> Float[np.ndarray, "rows vectors"]:
        """What task vectors and base are multiplied with."""
        least = _SMALL if self.count == "thresholded" else 0.0
        weights = scale * orthogonal_weights(orthogonal_gram(products), least=least)
        a = along_base(products)
        parallel = self.lambda_parallel * elected_mean(a[:, :, None])
        return np.concatenate([weights, parallel - np.sum(weights * a, axis=1, keepdims=True)], axis=1)


def _by_entry(values: Float[Tensor, "models elements"], scale: float) -> Float[Tensor, " elements"]:
    """TIES' rule, where there are no neurons; overwrites the task vectors."""
    merged = elected_sum(values, [1.0] * len(values), normalize=True)
    return merged if scale == 1.0 else merged.mul_(scale)


def _removed(scan: Scan, thresholds: list[float]) -> float:
    """Greatest share of a model's L1 norm below its threshold."""

    def measure(part: Part) -> Float[np.ndarray, "runs both_models"]:
        run = row_run(part.columns)
        before = [run_sums(delta.abs().double(), run) for delta in part.values]
        for delta, threshold in zip(part.values, thresholds, strict=True):
            trim_(delta, threshold)
        after = [run_sums(delta.abs_().double(), run) for delta in part.values]
        sums = np.stack([*before, *after], axis=1)
        if not np.isfinite(sums).all():
            raise ValueError("A model holds NaN or infinite numbers.")
        return sums

    before, after = np.concatenate(list(scan(measure))).sum(axis=0).reshape(2, scan.models)
    return float(np.max(1 - after / np.where(before > 0, before, 1.0), where=before > 0, initial=0.0))


def _refuse_transposed(part: Part) -> None:
    """Notice GPT-2's `Conv1D` layers where no configuration tells of them: of these names, they are wider than high."""
    kind = part.tensor.removesuffix(".weight").rpartition(".")[2]
    if kind in ("c_attn", "c_fc") and part.tensor.endswith(".weight") and part.shape[1] > part.shape[0]:
        raise ValueError(
            f"`neuromerging` takes rows for neurons, but a matrix of this name and shape {part.shape} is stored "
            "(in, out), as GPT-2's are: its neurons are columns. Give the models with their config.json, whose "
            "`model_type` (gpt2) says so and has them transposed."
        )
