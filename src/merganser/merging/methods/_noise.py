"""Random numbers for the elements of a tensor, keyed by what they are for.

The stream of (seed, model, tensor name) is fixed, and any place of it can be reached directly: element $x$ has the
same number whatever the chunks, threads, devices or other tensors. Numbers have 16 bits: chances are rounded to
multiples of 1/65,536 ([`drawn_chance`][]), and four elements share one 64-bit output of the generator.

References:
    O'Neill, *PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
    Generation*, 2014 (the generator, and how to jump ahead in it).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 1 << 16
"""Numbers are integers in [0, 65,536)."""

_PER_OUTPUT = 4


def drawn_chance(chance: float) -> float:
    """The chance that is drawn with when this one is asked for: the nearest there is, but 0 only for 0.

    To be unbiased, divide by this.

    Examples:
        >>> drawn_chance(0.5), drawn_chance(1e-9) == 1 / 65_536
        (0.5, True)
    """
    return max(round(chance * LEVELS), 1 if chance > 0 else 0) / LEVELS


class Noise:
    """Random numbers for one tensor of every model.

    Args:
        seed: The merge's seed.
        tensor: The tensor's name.

    Examples:
        >>> noise = Noise(7, "lm_head.weight")
        >>> whole = noise.levels(0, 0, 10)
        >>> bool((noise.levels(0, 3, 5) == whole[3:8]).all())
        True
    """

    def __init__(self, seed: int, tensor: str) -> None:
        self._seed, self._tensor = seed, tensor
        self._states: dict[int, Any] = {}

    def levels(self, model: int, begin: int, count: int) -> np.ndarray:
        """Integers uniform in [0, 65,536) for the elements [begin, begin + count) of a model."""
        generator = np.random.PCG64()
        generator.state = self._start(model)
        skipped, rest = divmod(begin, _PER_OUTPUT)
        if skipped:
            generator.advance(skipped)
        outputs = generator.random_raw(-(-(rest + count) // _PER_OUTPUT))
        return outputs.astype("<u8", copy=False).view("<u2")[rest : rest + count]

    def keep(
        self,
        model: int,
        begin: int,
        chance: Float[Tensor, " elements"] | float,
        like: Float[Tensor, " elements"],
    ) -> Float[Tensor, " elements"]:
        """One where the element is kept, zero elsewhere.

        Args:
            model: Which model.
            begin: First element.
            chance: Of being kept, in [0, 1]: one for all, or one for each; counts as its `drawn_chance`.
            like: Tensor whose length, type and device the result has.
        """
        import torch

        least = drawn_chance(chance) if isinstance(chance, float | int) else chance
        drawn = torch.from_numpy(self.levels(model, begin, len(like)).astype(np.float32)).to(like)
        return drawn.lt_(least * LEVELS)

    def _start(self, model: int) -> Any:
        if model not in self._states:
            text = json.dumps(["merganser/noise", self._seed, model, self._tensor])
            key = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=32).digest(), "little")
            generator = np.random.PCG64(np.random.SeedSequence(key))
            self._states[model] = generator.state
        return self._states[model]
