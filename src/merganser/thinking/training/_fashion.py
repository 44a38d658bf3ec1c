"""Fashion-MNIST: pictures of clothes in ten classes.

References:
    Xiao et al., *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms*, 2017,
    https://arxiv.org/abs/1708.07747
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from merganser._errors import TaskError
from merganser.evaluation import LabelledArrays, read_arrays
from merganser.thinking._config import CTMConfig
from merganser.thinking.training._task import VALIDATION, Samples

DEBIAN = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package `dataset-fashion-mnist` puts the files."""

_SIDE, _CLASSES = 28, 10
_HELD_BACK = 12
"""One of so many training pictures is held back: 5,000 of 60,000."""
_LOOKED_AT = 1_000
"""Most held-back pictures that a look sees, so that it costs little."""


@dataclass(frozen=True, slots=True)
class Fashion:
    """Fashion-MNIST: 55,000 pictures to train on, 5,000 held back, 10,000 to test.

    Looks see 1,000 of the pictures that are held back, the same in all trainings. The files are the four of the data
    set, `train-images-idx3-ubyte` and so on, plain or as `.gz`; nothing is downloaded.

    Args:
        folder: Where they are.
    """

    folder: str = DEBIAN

    @property
    def name(self) -> str:
        """`fashion`."""
        return "fashion"

    @property
    def positions(self) -> int:
        """One answer."""
        return 1

    @property
    def classes(self) -> int:
        """Ten kinds of clothes."""
        return _CLASSES

    @property
    def look_ahead(self) -> None:
        """All positions are trained at once."""
        return None

    def config(self, **changes: Any) -> CTMConfig:
        """A model of 256 neurons behind two convolutions, which looks at 49 places for 8 ticks.

        Raises:
            ConfigError: If a field is unknown or its value wrong.
        """
        fields = {
            "ticks": 8,
            "neurons": 256,
            "width": 32,
            "heads": 4,
            "memory": 5,
            "hidden": 8,
            "pairing": "random",
            "backbone": "digits",
            "positional": "fourier",
        }
        return CTMConfig.from_dict({**fields, **changes, "outputs": _CLASSES, "positions": 1, "channels": 1})

    def batch(self, size: int, *, seed: int, step: int) -> Samples:
        """Pictures drawn for one step.

        Raises:
            TaskError: If the files are missing or damaged, as for all of these methods.
        """
        data, rows = _read(self.folder), _order(self.folder)
        rows = rows[len(rows) // _HELD_BACK :]
        return _samples(data, np.random.default_rng([seed, 0, step]).choice(rows, size))

    def validation(self) -> Samples:
        """Pictures that are not trained on."""
        data, rows = _read(self.folder), _order(self.folder)
        return _samples(data, rows[: len(rows) // _HELD_BACK][:_LOOKED_AT])

    def test(self) -> Samples:
        """Pictures that come as a test set."""
        data = _read(self.folder)
        assert data.test_inputs is not None
        assert data.test_labels is not None
        return _as_samples(data.test_inputs, data.test_labels)


@lru_cache(maxsize=1)
def _read(folder: str) -> LabelledArrays:
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise TaskError(
            f"Fashion-MNIST is expected in {place}, which is not there. Debian and Ubuntu have it: `apt-get install "
            "dataset-fashion-mnist`; or, without rights, `apt-get download dataset-fashion-mnist` and `dpkg-deb -x` "
            f"into a folder of yours, and name its {DEBIAN.removeprefix('/')}."
        )
    data = read_arrays(place)
    if data.test_inputs is None or data.test_labels is None:
        raise TaskError(
            f"Expected the four files of Fashion-MNIST in {place}, but those of the test are missing."
        )
    for part, inputs, labels in (
        ("training", data.inputs, data.labels),
        ("test", data.test_inputs, data.test_labels),
    ):
        if inputs.shape[1:] != (_SIDE, _SIDE) or labels.max() >= _CLASSES:
            raise TaskError(
                f"Expected {part} pictures of {_SIDE}×{_SIDE} pixels in classes 0 to {_CLASSES - 1} in {place}, but "
                f"found shape {inputs.shape[1:]} and classes to {labels.max()}. Are these other data?"
            )
    if len(data.inputs) < _HELD_BACK:
        raise TaskError(
            f"Expected at least {_HELD_BACK} training pictures in {place}, found {len(data.inputs)}."
        )
    return data


@lru_cache(maxsize=1)
def _order(folder: str) -> Int[np.ndarray, " pictures"]:
    """Training pictures, those that are held back first; the same for all trainings."""
    return np.random.default_rng([VALIDATION]).permutation(len(_read(folder).inputs))


def _samples(data: LabelledArrays, rows: Int[np.ndarray, " rows"]) -> Samples:
    return _as_samples(data.inputs[rows], data.labels[rows])


def _as_samples(inputs: Float[np.ndarray, "rows 28 28"], labels: Int[np.ndarray, " rows"]) -> Samples:
    return Samples(torch.from_numpy(inputs)[:, None], torch.from_numpy(labels)[:, None])
