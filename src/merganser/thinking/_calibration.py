r"""Whether answers are right as often as their probabilities say.

Answers are put into bins of equal width by the probability of the answered class. With $n_k$ answers in bin $k$, of
mean probability $p_k$ and accuracy $a_k$, the expected calibration error is $\sum_k \frac{n_k}{n} |a_k - p_k|$.

References:
    Naeini et al., *Obtaining Well Calibrated Probabilities Using Bayesian Binning*, AAAI 2015
    Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017, https://arxiv.org/abs/1706.04599
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class CalibrationBin(NamedTuple):
    """Answers of about one probability.

    Attributes:
        probability: Mean of what was said, in [0, 1].
        accuracy: Share of them that are right, in [0, 1].
        answers: How many they are.
    """

    probability: float
    accuracy: float
    answers: int


class Calibration(NamedTuple):
    """A calibration curve.

    Attributes:
        bins: Those that hold answers, from unlikely to likely.
        error: Expected calibration error, in [0, 1].
    """

    bins: tuple[CalibrationBin, ...]
    error: float


def calibration(
    probabilities: Float[Tensor, "answers classes"], targets: Int[Tensor, " answers"], *, bins: int = 10
) -> Calibration:
    """How well the probability of the answered class foretells whether it is right.

    Args:
        probabilities: Of every class, for each answer.
        targets: The right classes, from 0.
        bins: How many, of equal width.

    Raises:
        ValueError: If there are no answers or no bins.

    Examples:
        >>> calibration(torch.tensor([[0.75, 0.25], [0.75, 0.25]]), torch.tensor([0, 1])).error
        0.25
    """
    if not len(targets) or bins < 1:
        raise ValueError(f"Expected at least one answer and one bin, found {len(targets)} and {bins}.")
    said, answer = probabilities.double().max(dim=1)
    right = (answer == targets).double()
    place = (said * bins).long().clamp(max=bins - 1)
    counts = torch.bincount(place, minlength=bins)
    sums = torch.stack([torch.bincount(place, values, minlength=bins) for values in (said, right)])
    found = [
        CalibrationBin(float(sums[0, k] / counts[k]), float(sums[1, k] / counts[k]), int(counts[k]))
        for k in counts.nonzero()[:, 0].tolist()
    ]
    error = sum(each.answers * abs(each.accuracy - each.probability) for each in found) / len(targets)
    return Calibration(tuple(found), error)
