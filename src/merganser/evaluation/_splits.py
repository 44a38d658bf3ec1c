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
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

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


class Division(NamedTuple):
    """Which samples are in which split.

    Attributes:
        search: What the search sees.
        validation: What the winner is chosen on; None in the paper's protocol.
        test: What is scored at the end; None where the test set was given apart.
        dropped: Samples in no split, because the test set given apart has their content.
    """

    search: Bool[np.ndarray, " samples"]
    validation: Bool[np.ndarray, " samples"] | None
    test: Bool[np.ndarray, " samples"] | None
    dropped: int


def divide(hashes: Sequence[str], rule: SplitRule, tested: Collection[str] | None = None) -> Division:
    """Divide any samples by the hashes of their contents.

    Args:
        hashes: Hash of each sample's content.
        rule: How to divide.
        tested: Hashes of a test set that was given apart.

    Raises:
        TaskError: If a split would be empty.
    """
    test = None if tested is not None else _test_part(hashes, rule)
    training = np.ones(len(hashes), dtype=bool) if test is None else ~test
    if rule.preset == "paper":
        return Division(training, None, test, 0)
    known = set(tested or ())
    fresh = training & np.array([h not in known for h in hashes])
    held_out = np.zeros(len(hashes), dtype=bool)
    kept = tuple(h for h, inside in zip(hashes, fresh, strict=True) if inside)
    held_out[fresh] = chosen(kept, rule.validation, f"validation {rule.seed}")
    return Division(fresh & ~held_out, held_out, test, int((training & ~fresh).sum()))


def split_arrays(data: LabelledArrays, rule: SplitRule = SplitRule()) -> Splits:
    """Divide labelled arrays into tasks.

    Raises:
        TaskError: If a split would be empty.
    """
    hashes, given = content_hashes(row.tobytes() for row in data.inputs), None
    if data.test_inputs is not None and data.test_labels is not None:
        given = Classification.of(data.name, data.test_inputs, data.test_labels, "test")
    parts = divide(hashes, rule, None if given is None else given.samples.hashes)
    return Splits(
        _part(data, hashes, parts.search, "search"),
        None if parts.validation is None else _part(data, hashes, parts.validation, "validation"),
        given if parts.test is None else _part(data, hashes, parts.test, "test"),
        dropped=parts.dropped,
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


def _test_part(hashes: Sequence[str], rule: SplitRule) -> Bool[np.ndarray, " samples"]:
    if rule.preset == "default":
        return chosen(tuple(hashes), rule.test, f"test {rule.seed}")
    held_out = np.arange(len(hashes)) >= int((1 - rule.test) * len(hashes))
    if held_out.all() or not held_out.any():
        raise TaskError(
            f"Cannot take the last {rule.test:g} of {len(held_out)} samples and leave some. "
            "Give a fraction between 0 and 1, or more data."
        )
    return held_out


def _part(
    data: LabelledArrays, hashes: tuple[str, ...], mask: Bool[np.ndarray, " samples"], split: str
) -> Classification:
    if not mask.any():
        raise TaskError(f"The {split} split of {data.name} is empty. Give more data or other fractions.")
    kept = tuple(h for h, inside in zip(hashes, mask, strict=True) if inside)
    return Classification.of(data.name, data.inputs[mask], data.labels[mask], split, kept)
