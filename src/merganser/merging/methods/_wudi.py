r"""WUDI: the one matrix that each task's inputs can tell least from the task's own, in closed form.

The rows of a task vector $W_t$ of a linear layer lie in the span of the inputs that it was trained on. So without data

$$\min_W \sum_t w_t \lVert (W - W_t) W_t^\top \rVert_F^2, \qquad w_t = 1 / \lVert W_t \rVert_F^2$$

asks that $W$ acts on them as $W_t$ does. The authors take some hundred steps of Adam from $\sum_t W_t$; the minimum is

$$W = B\,(A + \rho I)^{-1}, \qquad A = \sum_t w_t W_t^\top W_t, \qquad B = \sum_t w_t W_t W_t^\top W_t$$

for $\rho \to 0$. The ridge $\rho$, `ridge` times the mean diagonal of $A$, adds $\rho \lVert W \rVert_F^2$ to the sum,
and keeps directions that hardly any task uses from being blown up. The trace of $A$ is the number of task vectors that
are not zero, so $\rho$ knows no scale.

Let $Z$ be the $W_t/\lVert W_t \rVert_F$, stacked, and $M$ the $W_t W_t^\top / \lVert W_t \rVert_F$, side by side. Then
$A = Z^\top Z$ and $B = M Z$, and where $Z$ has fewer rows than columns we solve $W = M\,(Z Z^\top + \rho I)^{-1} Z$,
which is the same.

Matrices are (out, in): for the transpose the rule is another one, and layers that are stored (in, out) are transposed
where the model's configuration tells of them. The authors merge linear layers only and keep the base elsewhere; here
all else is the mean (`_matrices`).

References:
    Cheng et al., *Whoever Started the Interference Should End It: Guiding Data-Free Model Merging via Task Vectors*,
    ICML 2025, https://arxiv.org/abs/2503.08099
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from jaxtyping import Float

from merganser.merging.methods._matrices import MatrixMethod
from merganser.merging.methods._method import Rule, parameter

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class Wudi(MatrixMethod):
    """The matrix that is nearest to each task's on what the task vector itself sees."""

    rule: ClassVar[Rule] = Rule(
        "the matrix nearest to each task's on the rows of its own task vector, by a ridge regression",
        "2503.08099",
        laws=frozenset({"symmetric", "fixed_base"}),
    )
    alpha: float = parameter("scale of the merged task vector", 1.0)
    ridge: float = parameter("ridge, beside the mean diagonal of what is inverted", 0.01, low=1e-6)

    @property
    def outputs_first(self) -> bool:
        """Rows of task vectors stand for inputs."""
        return True

    def merged(
        self, deltas: Float[Tensor, "models rows columns"], sides: tuple[int, int] | None = None
    ) -> Float[Tensor, "rows columns"]:
        """Solve for the minimum."""
        import torch

        _, rows, columns = deltas.shape
        lengths = [torch.linalg.vector_norm(delta, dtype=torch.float64).item() for delta in deltas]
        scaled = [(delta, length) for delta, length in zip(deltas, lengths, strict=True) if length > 0]
        rho = self.ridge * len(scaled) / (columns if sides is None else sides[1])
        if not scaled:
            return deltas.new_zeros(rows, columns, dtype=torch.float64)
        if len(scaled) * rows < columns:
            units = [delta.double() / length for delta, length in scaled]
            z = torch.cat(units)
            m = torch.cat([n * (unit @ unit.T) for unit, (_, n) in zip(units, scaled, strict=True)], dim=1)
            return m @ torch.cholesky_solve(z, _factor(z @ z.T, rho))
        a = deltas.new_zeros(columns, columns, dtype=torch.float64)
        b = deltas.new_zeros(rows, columns, dtype=torch.float64)
        for delta, length in scaled:
            unit = delta.double() / length
            gram = unit.T @ unit
            a += gram
            left, right = (
                (unit @ unit.T, unit) if 2 * rows < columns else (unit, gram)
            )  # the cheaper way round
            b.addmm_(left, right, alpha=length)
        return torch.cholesky_solve(b.T, _factor(a, rho)).T


def _factor(matrix: Float[Tensor, "n n"], ridge: float) -> Float[Tensor, "n n"]:
    """The Cholesky factor of a Gram matrix with a ridge, which it overwrites."""
    import torch

    matrix.diagonal().add_(ridge)
    return torch.linalg.cholesky(matrix)
