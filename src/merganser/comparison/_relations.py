"""What is kept of one batch: for each site a vector that says how the rows relate, and nothing of the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from merganser.comparison._kernels import are_safe, centre, energy, mean_squares, nearest, u_centre

Measure: TypeAlias = Literal["cka", "cknna", "mutual_knn"]
"""How sites are compared; see `merganser.comparison`."""

FEWEST_ROWS = 8
"""Rows that a batch must have."""


class Site(NamedTuple):
    """Where features are taken.

    Attributes:
        model: Name of the model.
        layer: Name of the layer in it.
    """

    model: str
    layer: str


@dataclass(frozen=True, slots=True)
class Relations:
    """How the rows of one batch relate to one another, at every site.

    Attributes:
        sites: The sites.
        rows: Rows of the batch.
        neighbours: Neighbours of a row for `cknna` and `mutual_knn`; None if those are not measured.
        vectors: For each measure one vector a site.
        energies: For each site the sum of squares of each of its centred dimensions, of some of the rows.
    """

    sites: tuple[Site, ...]
    rows: int
    neighbours: int | None
    vectors: Mapping[Measure, Float[np.ndarray, "sites pairs"]]
    energies: tuple[Float[np.ndarray, " d"], ...]

    @classmethod
    def joined(cls, parts: Sequence[Relations]) -> Relations:
        """Those of several models on the same batch as one.

        Raises:
            ValueError: If the batches have not the same rows, neighbours differ, or a site comes twice.
        """
        first = parts[0]
        for part in parts:
            if (part.rows, part.neighbours) != (first.rows, first.neighbours):
                raise ValueError(
                    f"Expected batches of {first.rows} rows compared with neighbours={first.neighbours}, but one has "
                    f"{part.rows} and {part.neighbours}. All models must see the same data in the same batches."
                )
        sites = tuple(site for part in parts for site in part.sites)
        refuse_twice(sites)
        vectors: dict[Measure, Float[np.ndarray, "sites pairs"]] = {
            measure: np.concatenate([part.vectors[measure] for part in parts]) for measure in first.vectors
        }
        energies = tuple(energy for part in parts for energy in part.energies)
        return cls(sites, first.rows, first.neighbours, vectors, energies)


def relate(
    features: Mapping[tuple[str, str], Float[Any, "rows d"]], *, neighbours: int | None = None
) -> Relations:
    """How the rows of a batch relate, at every site.

    Args:
        features: Features of the same rows at each site (model, layer): numpy or torch, floating, any device; rows
            from 8 on, dimensions may differ. float64 is computed in float64, everything else in float32.
        neighbours: For `cknna` and `mutual_knn`: neighbours of a row, from 1 to rows - 1; None to measure CKA alone.

    Raises:
        ValueError: If there are fewer than 8 rows or not the same number at every site, the shape is another,
            `neighbours` is out of range, or features are NaN or infinite.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(16, 5))
        >>> found = relate({("a", "last"): x, ("b", "last"): 3 * x + 1})
        >>> bool(np.allclose(9 * found.vectors["cka"][0], found.vectors["cka"][1]))
        True
    """
    arrays = {Site(*key): as_numpy(each) for key, each in features.items()}
    n = _checked(arrays, neighbours)
    is_wide = any(array.dtype == np.float64 for array in arrays.values())
    kernels, energies = _kernels(arrays, n, np.float64 if is_wide else np.float32)
    squares = mean_squares(kernels)
    if not (is_wide or are_safe(squares)):
        kernels, energies = _kernels(arrays, n, np.float64)
        squares = mean_squares(kernels)
    for site, square in zip(arrays, squares, strict=True):
        if not np.isfinite(square):
            raise ValueError(
                f"Features at {site.layer!r} of {site.model!r} are NaN or infinite. Use a sound model, or leave this "
                "layer out."
            )
    vectors: dict[Measure, Float[np.ndarray, "sites pairs"]] = {}
    if neighbours is not None:
        masks = np.stack([nearest(kernel, neighbours) for kernel in kernels])
        vectors["cknna"] = (kernels * masks).reshape(len(arrays), -1)
        vectors["mutual_knn"] = masks.astype(np.float32).reshape(len(arrays), -1)
    u_centre(kernels)
    vectors["cka"] = kernels.reshape(len(arrays), -1)
    return Relations(tuple(arrays), n, neighbours, vectors, tuple(energies))


def _kernels(
    arrays: Mapping[Site, Float[np.ndarray, "rows d"]], n: int, dtype: type[np.floating[Any]]
) -> tuple[Float[np.ndarray, "sites rows rows"], list[Float[np.ndarray, " d"]]]:
    """Gram matrices of centred features, and the energy of each dimension."""
    kernels = np.empty((len(arrays), n, n), dtype)
    rooms = {d: np.empty((n, d), dtype) for d in {array.shape[1] for array in arrays.values()}}
    energies: list[Float[np.ndarray, " d"]] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for kernel, array in zip(kernels, arrays.values(), strict=True):
            rows = rooms[array.shape[1]]
            centre(array, rows)
            np.matmul(rows, rows.T, out=kernel)  # knows that this is symmetric, and computes half of it
            energies.append(energy(rows))
    return kernels, energies


def as_numpy(features: Any) -> np.ndarray:
    """Features of numpy or torch as numpy's, in float32 or float64."""
    if hasattr(features, "detach"):
        features = features.detach().cpu()
        features = (features if features.element_size() == 8 else features.float()).numpy()
    array = np.asarray(features)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def refuse_twice(sites: Sequence[Site]) -> None:
    """Make sure that every site comes once.

    Raises:
        ValueError: If one comes twice.
    """
    if len(set(sites)) < len(sites):
        twice = next(site for site in sites if sites.count(site) > 1)
        raise ValueError(f"Site {tuple(twice)} comes twice. Give each model a name of its own.")


def _checked(arrays: Mapping[Site, np.ndarray], neighbours: int | None) -> int:
    """Number of rows, if the features are sound."""
    if not arrays:
        raise ValueError("Expected features of at least one site, found none.")
    rows = len(next(iter(arrays.values())))
    for site, array in arrays.items():
        if array.ndim != 2 or len(array) != rows or not array.shape[1]:
            raise ValueError(
                f"Expected features of {rows} rows and one or more columns at each site, but those at {site.layer!r} "
                f"of {site.model!r} have the shape {array.shape}. Every site must see the same rows."
            )
    if rows < FEWEST_ROWS:
        raise ValueError(
            f"Expected batches of at least {FEWEST_ROWS} rows, found one of {rows}. Of so few the estimate is mostly "
            "noise: make batches larger, or drop the last one."
        )
    if neighbours is not None and not 1 <= neighbours < rows:
        raise ValueError(f"`neighbours` must be from 1 to rows - 1 = {rows - 1}, but is {neighbours}.")
    return rows
