r"""NearSwap: move the base towards another model, by no more than `t` a weight.

$$\theta = \theta_0 + k\,\delta, \qquad k = \min\!\Big(1, \frac{t}{\lvert\delta\rvert}\Big)$$

Weights nearer than `t` are swapped whole, others move a step of length `t`: small differences count in full, large ones
hardly.

References:
    alchemonaut, *QuartetAnemoi-70B* (model card), 2024, https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

from jaxtyping import Float

from merganser.merging.methods._method import MergeMethod, Part, Rule, parameter

if TYPE_CHECKING:
    from torch import Tensor

_TINY = 1e-30


@final
@dataclass(frozen=True)
class NearSwap(MergeMethod):
    """Small differences in full, large ones capped."""

    rule: ClassVar[Rule] = Rule(
        "the base moved towards one model, each weight by at most t",
        "https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
        models=(1, 1),
        laws=frozenset({"fixed_base", "endpoints"}),
    )
    t: float = parameter("longest step of a weight", low=0.0)

    def combine(self, part: Part, stats: Any) -> Float[Tensor, " elements"]:
        """Cap."""
        delta = part.values[0]
        share = (self.t / delta.abs().clamp_min_(_TINY)).clamp_max_(1.0)
        return delta.mul_(share)
