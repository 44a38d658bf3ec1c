r"""The lineage algebra: a descendant as an exact linear combination of the seeds.

Linear interpolation, SLERP, task arithmetic and split-point crossover all map parents to a child that
is, at each position of the flattened parameters, a linear combination of the seed models with
coefficients that are constant between split points. Closed under composition, so a descendant at any
depth is

$$\theta_x = \sum_{k=1}^{K} C_{s(x),k}\ \theta^{(k)}_x, \qquad 0 = b_0 < b_1 < \dots < b_S = P,$$

with $s(x)$ the segment that holds position $x$. Its size grows with the number of split points in its
ancestry and with nothing else: not with the model, not with the number of generations.

| operation | formula | here |
| --- | --- | --- |
| a seed itself | $C = e_k$ | [`Combination.seed`][] |
| two parents, other weights on each side of a split | $C = a_s C^A + b_s C^B$ | [`blend`][] |
| share of each seed per segment | $\lvert C_{sk}\rvert / \sum_k \lvert C_{sk}\rvert$ | [`Combination.shares`][] |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from merganser.weights import ORDER_VERSION

_FORMAT = "merganser/combination"


@dataclass(frozen=True, eq=False)
class Combination:
    """A model as coefficients over seeds, constant between breaks: a value, hashable and serialisable.

    Kept in canonical form: neighbouring segments with equal coefficients are one. The arrays are
    read-only; equality, hash and digest go by content.

    Attributes:
        seeds: Digests of the K seed checkpoints.
        breaks: Ascending positions in the flat order, from 0 to the number of parameters P.
        coefficients: What each seed contributes to each segment.

    Raises:
        ValueError: If shapes disagree, breaks do not ascend from 0, or a coefficient is not finite.

    Examples:
        >>> half = Combination(("a", "b"), [0, 4, 10], [[1.0, 0.0], [0.5, 0.5]])
        >>> half.size, half.segments
        (10, 2)
        >>> Combination(("a",), [0, 4, 10], [[1.0], [1.0]]).segments
        1
    """

    seeds: tuple[str, ...]
    breaks: Int[np.ndarray, " breaks"]
    coefficients: Float[np.ndarray, "segments seeds"]

    def __post_init__(self) -> None:
        breaks = np.array(self.breaks).astype("<i8", casting="same_kind")
        coefficients = np.array(self.coefficients, dtype="<f8", ndmin=2)
        _check(self.seeds, breaks, coefficients)
        new = np.ones(len(coefficients), dtype=bool)
        new[1:] = (coefficients[1:] != coefficients[:-1]).any(axis=1)
        if not new.all():
            breaks, coefficients = breaks[np.append(new, True)], coefficients[new]
        coefficients += 0.0  # -0.0 and 0.0 are one value and must have one digest
        breaks.flags.writeable = coefficients.flags.writeable = False
        object.__setattr__(self, "seeds", tuple(self.seeds))
        object.__setattr__(self, "breaks", breaks)
        object.__setattr__(self, "coefficients", coefficients)

    @classmethod
    def seed(cls, seeds: Sequence[str], index: int, size: int) -> Combination:
        """The seed at `index`, unchanged, as a combination over all of them."""
        return cls(tuple(seeds), np.array([0, size]), np.eye(len(seeds))[index : index + 1])

    @property
    def size(self) -> int:
        """Number of parameters P."""
        return int(self.breaks[-1])

    @property
    def segments(self) -> int:
        """Number of stretches with constant coefficients."""
        return len(self.coefficients)

    @cached_property
    def digest(self) -> str:
        """Hash of the content, 32 hex digits: two equal combinations have one digest, whatever their history."""
        h = hashlib.blake2b(digest_size=16)
        h.update(json.dumps([_FORMAT, ORDER_VERSION, self.seeds]).encode())
        h.update(self.breaks.tobytes())
        h.update(self.coefficients.tobytes())
        return h.hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Combination) and self.digest == other.digest

    def refined(self, breaks: Int[np.ndarray, " finer"]) -> Float[np.ndarray, "finer_segments seeds"]:
        """Coefficients on the segments of a finer partition that contains all own breaks."""
        return self.coefficients[np.searchsorted(self.breaks, breaks[:-1], side="right") - 1]

    def shares(self) -> Float[np.ndarray, "segments seeds"]:
        """Share of each seed in each segment, by absolute coefficient; rows sum to 1 (or 0 where nothing is left)."""
        size = np.abs(self.coefficients)
        total = size.sum(axis=1, keepdims=True)
        return size / np.where(total > 0, total, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Plain form; floats are written with all their digits, so that reading returns the same digest."""
        return {
            "format": _FORMAT,
            "version": 1,
            "order_version": ORDER_VERSION,
            "seeds": list(self.seeds),
            "breaks": self.breaks.tolist(),
            "coefficients": self.coefficients.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Combination:
        """Read the plain form.

        Raises:
            TypeError: If it is no mapping.
            ValueError: If it is another format, a newer version, or another flat order.
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"Expected a JSON object, but found {type(data).__name__}.")
        if data.get("format") != _FORMAT or data.get("version") != 1:
            raise ValueError(
                f"Expected a recipe of format {_FORMAT!r}, version 1, but found {data.get('format')!r}, "
                f"version {data.get('version')!r}. Was it written by a newer release?"
            )
        if data.get("order_version") != ORDER_VERSION:
            raise ValueError(
                f"The recipe counts positions in flat order {data.get('order_version')!r}, this release in "
                f"{ORDER_VERSION}. Rebuild it with the release that wrote it."
            )
        return cls(tuple(data["seeds"]), np.array(data["breaks"]), np.array(data["coefficients"]))


def _check(seeds: Sequence[str], breaks: np.ndarray, coefficients: np.ndarray) -> None:
    if breaks.ndim != 1 or len(breaks) < 2 or breaks[0] != 0 or (np.diff(breaks) <= 0).any():
        raise ValueError(
            f"Breaks must ascend from 0 to the number of parameters, but are {breaks.tolist()[:8]}."
        )
    if coefficients.shape != (len(breaks) - 1, len(seeds)):
        raise ValueError(
            f"{len(breaks) - 1} segments of {len(seeds)} seeds need coefficients of shape "
            f"{(len(breaks) - 1, len(seeds))}, but they have {coefficients.shape}."
        )
    if not seeds:
        raise ValueError("A combination needs at least one seed, but names none.")
    if not np.isfinite(coefficients).all():
        segment = int(np.argwhere(~np.isfinite(coefficients))[0][0])
        raise ValueError(
            f"Coefficients must be finite, but segment {segment} has {coefficients[segment].tolist()}."
        )


def blend(
    first: Combination,
    second: Combination,
    left: tuple[float, float],
    right: tuple[float, float],
    split: int,
) -> Combination:
    r"""Child with weights `left` on the parents before the split and `right` from it on.

    Args:
        first: Parent A.
        second: Parent B, over the same seeds.
        left: $(a, b)$ with $C = a C^A + b C^B$ on positions $[0, \text{split})$.
        right: The same on $[\text{split}, P)$.
        split: Position in [0, P].

    Raises:
        ValueError: If the parents have other seeds or sizes, or the split lies outside.
    """
    if first.seeds != second.seeds or first.size != second.size:
        raise ValueError(
            f"Parents must combine the same seeds over the same positions, but one has {len(first.seeds)} seeds "
            f"and {first.size} positions, the other {len(second.seeds)} and {second.size}."
        )
    if not 0 <= split <= first.size:
        raise ValueError(f"The split point must lie in [0, {first.size}], but is {split}.")
    breaks = merged_breaks(first.breaks, second.breaks, np.array([split]))
    before = (breaks[:-1] < split)[:, None]
    a = np.where(before, left[0], right[0])
    b = np.where(before, left[1], right[1])
    return Combination(first.seeds, breaks, a * first.refined(breaks) + b * second.refined(breaks))


def merged_breaks(*breaks: Int[np.ndarray, " _"]) -> Int[np.ndarray, " merged"]:
    """All breaks of several partitions, ascending, each once.

    Examples:
        >>> merged_breaks(np.array([0, 4, 9]), np.array([0, 2, 4, 9])).tolist()
        [0, 2, 4, 9]
    """
    merged = np.concatenate(breaks)
    merged.sort()
    new = np.ones(len(merged), dtype=bool)
    np.not_equal(merged[1:], merged[:-1], out=new[1:])
    return merged[new]
