r"""Several experts as one, $e - 1 = \sum_k \alpha_k (e_k - 1)$.

Scales are mixed, never logits: one expert with $\alpha = 1$ is then that expert, and what the $\alpha$ lack to 1 is
the base. The paper's sum of scales, followed by the factor that keeps the nuclear norm, divides by $\sum_k
\alpha_k$: each $e_k$ keeps the norm, so their sum has $\sum \alpha_k$ times as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from jaxtyping import Float

from merganser.adaptation._expert import ExpertVector

if TYPE_CHECKING:
    from torch import Tensor

Weights: TypeAlias = Sequence[float] | Mapping[str, Sequence[float]]
"""A weight for each expert: for all matrices, or matrix by matrix."""


def mix(experts: Sequence[ExpertVector], weights: Weights, *, normalise: bool = False) -> ExpertVector:
    r"""Mix experts of one base.

    Args:
        experts: The experts. Where one does not adapt a matrix or a direction, its gain there is 0.
        weights: $\alpha$ of each expert, any finite number; or those for each matrix that any of them adapts.
        normalise: Whether to divide by $\sum_k \alpha_k$, as the published rule does.

    Returns:
        An expert of the plain parametrisation.

    Raises:
        ValueError: If there are no experts, they are of different bases, there is not one weight for each, or weights
            that are to be normalised add up to 0.

    Examples:
        >>> import torch
        >>> one = ExpertVector.from_gains({"w": torch.tensor([0.5, -0.5])}, {"w": "digest"})
        >>> two = ExpertVector.from_gains({"w": torch.tensor([0.5, 0.0])}, {"w": "digest"})
        >>> mix([one, two], [0.5, 0.5]).gains("w")
        tensor([ 0.5000, -0.2500])
    """
    base = common_base(experts)
    if isinstance(weights, Mapping) and (lacking := [name for name in base if name not in weights]):
        raise ValueError(f"Expected weights for each of {len(base)} matrices, but {lacking[0]!r} has none.")
    found: dict[str, Tensor] = {}
    for name in base:
        alphas = _checked(
            weights[name] if isinstance(weights, Mapping) else weights, experts, name, normalise
        )
        found[name] = _sum(experts, alphas, name)
    return ExpertVector.from_gains(found, base)


def _sum(experts: Sequence[ExpertVector], alphas: Sequence[float], name: str) -> Float[Tensor, " directions"]:
    import torch

    directions = max(len(expert.vectors[name]) for expert in experts if name in expert.vectors)
    total = torch.zeros(directions, dtype=torch.float64)
    for expert, alpha in zip(experts, alphas, strict=True):
        if name in expert.vectors:
            gains = expert.gains(name)
            total[: len(gains)] += alpha * gains.double()
    return total


def common_base(experts: Sequence[ExpertVector]) -> dict[str, str]:
    """Digest of each matrix that some of the experts adapt.

    Raises:
        ValueError: If there are no experts, or they are of different bases.
    """
    if not experts:
        raise ValueError("Expected at least one expert to mix, found none.")
    base: dict[str, str] = {}
    for number, expert in enumerate(experts):
        for name, digest in expert.base.items():
            if base.setdefault(name, digest) != digest:
                raise ValueError(
                    f"Expected experts of one base, but expert {number} was made for {name!r} with digest {digest}, "
                    f"one before it for {base[name]}."
                )
    return base


def _checked(
    alphas: Sequence[float], experts: Sequence[ExpertVector], name: str, normalise: bool
) -> list[float]:
    if len(alphas) != len(experts):
        raise ValueError(
            f"Expected {len(experts)} weights for {name!r}, one for each expert, found {len(alphas)}."
        )
    if not normalise:
        return list(alphas)
    total = sum(alphas)
    if total == 0:
        raise ValueError(f"The weights for {name!r} add up to 0 and cannot be normalised. Change them.")
    return [alpha / total for alpha in alphas]
