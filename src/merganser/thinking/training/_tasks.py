r"""What a thought machine is trained on: samples that follow from a seed and a step, so that a training can go on.

| name | task | inputs | answers |
| --- | --- | --- | --- |
| `parity` | [`Parity`][]: after each sign, is the number of minus ones odd? | signs, ±1 | one of 2 at each position |
| `digits` | [`Digits`][]: handwritten digits of scikit-learn | pictures of 8×8, in [0, 1] | one of 10 |

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, sections 4.3 and G, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from merganser._errors import ConfigError
from merganser.evaluation import read_arrays
from merganser.thinking._config import CTMConfig

_ALL_UP_TO = 10
"""The longest sequences of signs of which all are looked at: 1,024."""
_LOOKED_AT, _TESTED = 512, 2_048
_VALIDATION, _TEST = 1, 2
"""What held-out samples are drawn for; part of their key."""
_HELD_BACK = 237
"""Training pictures of the digits that are looked at and not trained on; 1,200 are left."""


class Samples(NamedTuple):
    """Inputs and the right answers.

    Attributes:
        inputs: As the model takes them.
        targets: The right class of each position, from 0.
    """

    inputs: Float[Tensor, "batch ..."]
    targets: Int[Tensor, "batch positions"]


class ThinkingTask(Protocol):
    """Something to train a thought machine on; a frozen dataclass, whose fields a training's folder notes.

    All samples follow from the fields and from what the methods are given.
    """

    @property
    def name(self) -> str:
        """Which kind it is; a training of one of [`TASKS`][] can be opened again."""
        ...

    @property
    def positions(self) -> int:
        """Answers to each sample."""
        ...

    @property
    def classes(self) -> int:
        """Classes of each answer."""
        ...

    def config(self, **changes: Any) -> CTMConfig:
        """A small model for it, with some fields changed."""
        ...

    def batch(self, size: int, *, seed: int, step: int) -> Samples:
        """What is trained on at one step."""
        ...

    def validation(self) -> Samples:
        """What is looked at meanwhile."""
        ...

    def test(self) -> Samples:
        """What is looked at once, at the end."""
        ...


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
        return self._held_out(_LOOKED_AT, _VALIDATION)

    def test(self) -> Samples:
        """All sequences, or others than [`Parity.validation`][]'s."""
        return self._held_out(_TESTED, _TEST)

    def _held_out(self, number: int, purpose: int) -> Samples:
        if self.length > _ALL_UP_TO:
            return self._drawn(number, 0, purpose)
        return _with_parity(np.array(list(product((1, -1), repeat=self.length))))

    def _drawn(self, size: int, *key: int) -> Samples:
        signs = np.random.default_rng([self.length, *key]).integers(0, 2, size=(size, self.length))
        return _with_parity(1 - 2 * signs)


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


TASKS: Mapping[str, Callable[..., ThinkingTask]] = {"parity": Parity, "digits": Digits}
"""Tasks by name."""


def task_named(name: str, **settings: Any) -> ThinkingTask:
    """A task by its name.

    Args:
        name: One of [`TASKS`][].
        settings: Its own fields.

    Raises:
        ConfigError: If there is no such task, or it has no such field.
    """
    if name not in TASKS:
        raise ConfigError(f"Expected a task among {', '.join(TASKS)}, found {name!r}.")
    try:
        return TASKS[name](**settings)
    except TypeError as error:
        raise ConfigError(f"The task {name} cannot be set up from {settings}: {error}.") from error


def _with_parity(signs: Int[np.ndarray, "batch length"]) -> Samples:
    targets = (signs < 0).cumsum(axis=1) % 2
    return Samples(torch.from_numpy(signs).float(), torch.from_numpy(targets).long())


@lru_cache(maxsize=3)
def _digits(part: str) -> Samples:
    arrays = read_arrays("digits")
    if part == "test":
        assert arrays.test_inputs is not None
        assert arrays.test_labels is not None
        return _pictures(arrays.test_inputs, arrays.test_labels)
    order = np.random.default_rng([_VALIDATION]).permutation(len(arrays.inputs))
    chosen = order[:_HELD_BACK] if part == "validation" else order[_HELD_BACK:]
    return _pictures(arrays.inputs[chosen], arrays.labels[chosen])


def _pictures(inputs: Float[np.ndarray, "samples ..."], labels: Int[np.ndarray, " samples"]) -> Samples:
    pictures = torch.from_numpy(inputs.astype(np.float32) / 16).reshape(-1, 1, 8, 8)
    return Samples(pictures, torch.from_numpy(labels.astype(np.int64))[:, None])
