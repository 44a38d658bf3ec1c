"""Handwritten digits of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from merganser.evaluation import read_arrays
from merganser.thinking._config import CTMConfig
from merganser.thinking.training._task import VALIDATION, Samples

_HELD_BACK = 237
"""Training pictures of the digits that are looked at and not trained on; 1,200 are left."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Handwritten digits of scikit-learn: 1,200 to train on, 237 to look at, 360 to test.

    Test pictures are those of [`read_arrays`][merganser.evaluation.read_arrays], the last 360 of the set.
    """

    @property
    def name(self) -> str:
        """`digits`."""
        return "digits"

    @property
    def positions(self) -> int:
        """One answer."""
        return 1

    @property
    def classes(self) -> int:
        """Ten digits."""
        return 10

    @property
    def look_ahead(self) -> None:
        """All positions are trained at once."""
        return None

    def config(self, **changes: Any) -> CTMConfig:
        """A model of 128 neurons behind two convolutions, which thinks for 8 ticks.

        Raises:
            ConfigError: If a field is unknown or its value wrong.
        """
        fields = {
            "ticks": 8,
            "neurons": 128,
            "width": 32,
            "heads": 4,
            "memory": 5,
            "hidden": 8,
            "pairing": "random",
            "backbone": "digits",
        }
        return CTMConfig.from_dict({**fields, **changes, "outputs": 10, "positions": 1, "channels": 1})

    def batch(self, size: int, *, seed: int, step: int) -> Samples:
        """Pictures drawn for one step."""
        inputs, targets = _digits("training")
        rows = torch.from_numpy(np.random.default_rng([seed, 0, step]).integers(0, len(inputs), size))
        return Samples(inputs[rows], targets[rows])

    def validation(self) -> Samples:
        """Pictures that are not trained on."""
        return _digits("validation")

    def test(self) -> Samples:
        """Pictures that come as a test set."""
        return _digits("test")


@lru_cache(maxsize=3)
def _digits(part: str) -> Samples:
    arrays = read_arrays("digits")
    if part == "test":
        assert arrays.test_inputs is not None
        assert arrays.test_labels is not None
        return _pictures(arrays.test_inputs, arrays.test_labels)
    order = np.random.default_rng([VALIDATION]).permutation(len(arrays.inputs))
    chosen = order[:_HELD_BACK] if part == "validation" else order[_HELD_BACK:]
    return _pictures(arrays.inputs[chosen], arrays.labels[chosen])


def _pictures(inputs: Float[np.ndarray, "samples ..."], labels: Int[np.ndarray, " samples"]) -> Samples:
    pictures = torch.from_numpy(inputs.astype(np.float32) / 16).reshape(-1, 1, 8, 8)
    return Samples(pictures, torch.from_numpy(labels.astype(np.int64))[:, None])
