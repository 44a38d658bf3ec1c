r"""From what is trained to what a singular value is multiplied with.

| parametrisation | the vector holds | scale $e$ | gain $e - 1$ |
| --- | --- | --- | --- |
| `sigmoid` | logits $p$ | $m / \bar m$ with $m = \mathrm{sigmoid}(p)$ | $(m - \bar m) / \bar m$ |
| `plain` | the gain | 1 + gain | as it is |

$\bar m = \sum_i \sigma_i m_i / \sum_i \sigma_i$, so that $\sum \sigma e = \sum \sigma$: the nuclear norm stays. The
paper's equation lacks this factor, its code has it. It also has a constant in front of the sigmoid, which the
factor cancels.

Gains, not scales, are what is computed, and $\bar m$ as $m_0 + \sum \sigma (m - m_0) / \sum \sigma$: equal logits
then give exactly 0, in float32 too, and the base stays as it is bit for bit.

References:
    Sun et al., *Transformer²: Self-Adaptive LLMs*, ICLR 2025, https://arxiv.org/abs/2501.06252
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor

Parametrisation = Literal["sigmoid", "plain"]
PARAMETRISATIONS: tuple[Parametrisation, ...] = get_args(Parametrisation)
"""All of them."""


def gains_of(
    vector: Float[Tensor, "*rows directions"],
    sigma: Float[Tensor, " directions"],
    parametrisation: Parametrisation,
) -> Float[Tensor, "*rows directions"]:
    """Gains of the leading directions; differentiable.

    Args:
        vector: Logits, or gains, of which there may be several rows.
        sigma: Singular values of the same directions.
        parametrisation: What the vector holds.

    Examples:
        >>> import torch
        >>> gains_of(torch.tensor([0.1, 0.1, 0.1]), torch.tensor([3.0, 2.0, 1.0]), "sigmoid")
        tensor([0., 0., 0.])
    """
    if parametrisation == "plain":
        return vector
    mask = mask_of(vector)
    return relative(mask, mean_mask(mask, sigma))


def mask_of(logits: Float[Tensor, "*rows directions"]) -> Float[Tensor, "*rows directions"]:
    """Their sigmoid, the same number wherever a logit is that of the first direction.

    Vector instructions and what is left over for single ones may differ in the last bit.
    """
    import torch

    mask = torch.sigmoid(logits)
    rounding = torch.where(logits == logits[..., :1], mask[..., :1] - mask, 0.0)
    return mask + rounding.detach()


def mean_mask(mask: Float[Tensor, " directions"], sigma: Float[Tensor, " directions"]) -> Float[Tensor, ""]:
    r"""$\bar m$, the mean that keeps the nuclear norm."""
    total = sigma.sum()
    first = mask[0]
    return first if total == 0 else first + (sigma * (mask - first)).sum() / total


def relative(mask: Float[Tensor, " directions"], mean: Float[Tensor, ""]) -> Float[Tensor, " directions"]:
    r"""$(m - \bar m) / \bar m$."""
    return (mask - mean) / mean
