"""Dividing samples into search, validation and test, disjoint by content.

| preset | search | validation | test |
| --- | --- | --- | --- |
| `default` | four fifths of the training data | one fifth | the data's own test set, else one fifth of everything |
| `paper` | all training data, in order | none: the best search score counts | the same, else the last fifth, in order |

A sample goes where the hash of its content says, so copies of one sample stay together, whatever the order of
the file. In the default preset, training samples whose content is in the test set are left out and counted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from merganser._errors import TaskError
from merganser.evaluation._arrays import LabelledArrays
from merganser.evaluation._classification import Classification
from merganser.evaluation._samples import content_hashes
from merganser.evaluation._task import Splits


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How to divide samples.

    Attributes:
        preset: `default` or `paper`.
        validation: Fraction of the training data for validation, in (0, 1); `default` only.
        test: Fraction of everything for the test, in (0, 1), where the data have no test set.
        seed: Another seed divides differently.
    """

    preset: Literal["default", "paper"] = "default"
    validation: float = 0.2
    test: float = 0.2
    seed: int = 0


def split_arrays(data: LabelledArrays, rule: SplitRule = SplitRule()) -> Splits:
    """Divide labelled arrays into tasks.

    Raises:
        TaskError: If a split would be empty.
    """
    data = data if data.test_inputs is not None else _with_test(data, rule)
    assert data.test_inputs is not None
    assert data.test_labels is not None
    test = Classification.of(data.name, data.test_inputs, data.test_labels, "test")
    if rule.preset == "paper":
        return Splits(Classification.of(data.name, data.inputs, data.labels, "search"), None, test)
    hashes = content_hashes(row.tobytes() for row in data.inputs)
    known = set(test.samples.hashes)
    fresh = np.array([h not in known for h in hashes])
    held_out = np.zeros(len(hashes), dtype=bool)
    held_out[fresh] = chosen(
        tuple(h for h in hashes if h not in known), rule.validation, f"validation {rule.seed}"
    )
    return Splits(
        _part(data, hashes, fresh & ~held_out, "search"),
        _part(data, hashes, held_out, "validation"),
        test,
        dropped=int((~fresh).sum()),
    )


def check_disjoint(splits: Splits) -> None:
    """Make sure that no content is in two splits.

    Raises:
        TaskError: If some is.
    """
    seen: set[str] = set()
    for task in (splits.search, splits.validation, splits.test):
        hashes = set() if task is None else set(task.samples.hashes)
        if task is not None and hashes & seen:
            raise TaskError(
                f"{len(hashes & seen)} samples of {task.name} ({task.samples.split}) are in an earlier split too, "
                f"one with hash {min(hashes & seen)}. What is searched on must not be tested on: divide the samples "
                "by content."
            )
        seen |= hashes


def chosen(hashes: tuple[str, ...], fraction: float, key: str) -> Bool[np.ndarray, " samples"]:
    """Which samples are in a part that takes `fraction` of the distinct contents; copies go together.

    Raises:
        TaskError: If the fraction leaves one of the two parts empty.
    """
    distinct = sorted(set(hashes), key=lambda h: hashlib.blake2b(f"{key} {h}".encode()).digest())
    count = round(fraction * len(distinct))
    if not 0 < count < len(distinct):
        raise TaskError(
            f"Cannot take {fraction:g} of {len(distinct)} distinct samples and leave some: that would be {count}. "
            "Give a fraction between 0 and 1, or more data."
        )
    part = set(distinct[:count])
    return np.array([h in part for h in hashes])


def _with_test(data: LabelledArrays, rule: SplitRule) -> LabelledArrays:
    if rule.preset == "paper":
        held_out = np.arange(len(data.labels)) >= int((1 - rule.test) * len(data.labels))
        if held_out.all() or not held_out.any():
            raise TaskError(
                f"Cannot take the last {rule.test:g} of {len(held_out)} samples and leave some. "
                "Give a fraction between 0 and 1, or more data."
            )
    else:
        hashes = content_hashes(row.tobytes() for row in data.inputs)
        held_out = chosen(hashes, rule.test, f"test {rule.seed}")
    kept = ~held_out
    return LabelledArrays(
        data.name, data.inputs[kept], data.labels[kept], data.inputs[held_out], data.labels[held_out]
    )


def _part(
    data: LabelledArrays, hashes: tuple[str, ...], mask: Bool[np.ndarray, " samples"], split: str
) -> Classification:
    if not mask.any():
        raise TaskError(f"The {split} split of {data.name} is empty. Give more data or other fractions.")
    kept = tuple(h for h, inside in zip(hashes, mask, strict=True) if inside)
    return Classification.of(data.name, data.inputs[mask], data.labels[mask], split, kept)
