"""Parity: whether the number of minus signs so far is odd.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, sections 4.3 and G, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from merganser._errors import ConfigError
from merganser.thinking._config import CTMConfig
from merganser.thinking.training._task import TEST, VALIDATION, Samples

_ALL_UP_TO = 10
"""The longest sequences of signs of which all are looked at: 1,024."""
_LOOKED_AT, _TESTED = 512, 2_048


@dataclass(frozen=True, slots=True)
class Parity:
    r"""Cumulative parity: the target at position $l$ is the number of $-1$ among $x_1 \dots x_l$, modulo 2.

    Sequences are drawn evenly. Up to a length of 10 all $2^l$ of them are looked at and tested, those that were trained
    on among them; of longer ones 512 and 2,048, the same for all trainings, which drawn batches may hold too.

    Args:
        length: Signs in a sequence, at least 1.

    Raises:
        ConfigError: If the length is not positive.

    Examples:
        >>> samples = Parity(3).test()
        >>> samples.inputs[5].tolist(), samples.targets[5].tolist()
        ([-1.0, 1.0, -1.0], [1, 1, 0])
    """

    length: int = 8

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"Expected sequences of at least one sign, found a length of {self.length}.")

    @property
    def name(self) -> str:
        """`parity`."""
        return "parity"

    @property
    def positions(self) -> int:
        """One for each sign."""
        return self.length

    @property
    def classes(self) -> int:
        """Even, odd."""
        return 2

    @property
    def look_ahead(self) -> None:
        """All positions are trained at once."""
        return None

    def config(self, **changes: Any) -> CTMConfig:
        """A model of 128 neurons that thinks for 12 ticks; of 256 and 20 for sequences longer than 10.

        Raises:
            ConfigError: If a field is unknown or its value wrong.
        """
        is_short = self.length <= _ALL_UP_TO
        fields = {
            "ticks": 12 if is_short else 20,
            "neurons": 128 if is_short else 256,
            "width": 64,
            "heads": 4,
            "memory": 8 if is_short else 10,
            "hidden": 8,
            "pairing": "random",
            "backbone": "parity",
            "positional": "rotational-1d",
        }
        answers = {"outputs": 2 * self.length, "positions": self.length}
        return CTMConfig.from_dict({**fields, **changes, **answers})

    def batch(self, size: int, *, seed: int, step: int) -> Samples:
        """Sequences drawn for one step."""
        return self._drawn(size, seed, 0, step)

    def validation(self) -> Samples:
        """All sequences, or some that are the same for all trainings."""
        return self._held_out(_LOOKED_AT, VALIDATION)

    def test(self) -> Samples:
        """All sequences, or others than [`Parity.validation`][]'s."""
        return self._held_out(_TESTED, TEST)

    def _held_out(self, number: int, purpose: int) -> Samples:
        if self.length > _ALL_UP_TO:
            return self._drawn(number, 0, purpose)
        return _with_parity(np.array(list(product((1, -1), repeat=self.length))))

    def _drawn(self, size: int, *key: int) -> Samples:
        signs = np.random.default_rng([self.length, *key]).integers(0, 2, size=(size, self.length))
        return _with_parity(1 - 2 * signs)


def _with_parity(signs: Int[np.ndarray, "batch length"]) -> Samples:
    targets = (signs < 0).cumsum(axis=1) % 2
    return Samples(torch.from_numpy(signs).float(), torch.from_numpy(targets).long())
