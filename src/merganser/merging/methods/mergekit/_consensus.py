r"""mergekit's election of signs: where votes cancel, the positive side wins.

Otherwise as in our `_consensus`: an entry counts if it has the sign of the sum over the models, and zeros never count.
The sum is taken in the models' own precision, model after model, for where votes nearly cancel rounding decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor


def agreeing_(values: Float[Tensor, "models elements"]) -> Float[Tensor, " elements"]:
    """Leave the magnitudes of what has the elected sign, in place, and zero elsewhere; gives the signs, 1 or −1.

    Examples:
        >>> import torch
        >>> votes = torch.tensor([[2.0, 1.0], [-2.0, -3.0]])
        >>> agreeing_(votes), votes
        (tensor([ 1., -1.]), tensor([[2., 0.], [0., 3.]]))
    """
    side = values.sum(dim=0).ge_(0.0).mul_(2.0).sub_(1.0)
    values.mul_(side).clamp_min_(0.0)
    return side


def counted(
    agreeing: Float[Tensor, "models elements"], weights: Sequence[float]
) -> Float[Tensor, " elements"]:
    """Sum of the weights of what counts; overwrites the magnitudes."""
    total = agreeing[0].sign_().mul_(weights[0])
    for magnitude, weight in zip(agreeing[1:], weights[1:], strict=True):
        total.add_(magnitude.sign_(), alpha=weight)
    return total
