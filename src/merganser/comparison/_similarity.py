"""What a comparison found: similarities with their intervals, what chance gives, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from merganser.comparison._geometry import plain
from merganser.comparison._relations import Measure, Site

_Z = 1.959963984540054
_STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""The 97.5 % quantile of Student's t for 1 to 10 degrees of freedom."""

_FEW = 3
"""Dimensions that are looked at for whether a few carry everything."""

_WIDE, _HEAVY = 0.1, 0.5
"""Width of an interval, and share of variance in a few dimensions, from which on a warning is given."""

_CHANCE = 0.01


class Estimate(NamedTuple):
    """A similarity and where it lies with 95 % confidence; neither is clamped to [0, 1].

    Attributes:
        value: The similarity.
        low: Lower end; NaN if there was one batch only.
        high: Upper end.
    """

    value: float
    low: float
    high: float


class Spread(NamedTuple):
    """How the variance of a site's features is spread.

    Attributes:
        dimensions: Number of dimensions.
        share: Share of variance in the three largest, in [0, 1]; NaN if features do not differ.
    """

    dimensions: int
    share: float

    @classmethod
    def of(cls, energy: Float[np.ndarray, " d"]) -> Spread:
        """Of the sum of squares of each centred dimension."""
        total = energy.sum()
        return cls(len(energy), float(np.sort(energy)[-_FEW:].sum() / total) if total else float("nan"))


@dataclass(frozen=True, slots=True)
class Similarity:
    """How alike all pairs of sites are, by one measure.

    Attributes:
        measure: The measure.
        sites: The sites.
        values: Similarities, not clamped; NaN where the features of a site do not differ between rows.
        errors: Their standard errors, by the jackknife over batches; NaN if there was one batch only.
        chance: Standard deviation of CKA over all permutations of one side's rows, whose mean is 0; None for others.
        batches: Batches seen.
        rows: Rows seen.
        spreads: How the variance of each site's features is spread.
    """

    measure: Measure
    sites: tuple[Site, ...]
    values: Float[np.ndarray, "sites sites"]
    errors: Float[np.ndarray, "sites sites"]
    chance: Float[np.ndarray, "sites sites"] | None
    batches: int
    rows: int
    spreads: tuple[Spread, ...]

    def between(self, first: tuple[str, str], second: tuple[str, str]) -> Estimate:
        """How alike two sites are.

        Raises:
            ValueError: If there is no such site.
        """
        at = self.index(first), self.index(second)
        value, reach = self.values[at], self.errors[at] * student(self.batches - 1)
        return Estimate(float(value), float(value - reach), float(value + reach))

    def chance_of(self, first: tuple[str, str], second: tuple[str, str]) -> float:
        r"""At most what share of permutations of one side's rows give a CKA as large, in (0, 1].

        By Cantelli's inequality $1 / (1 + z^2)$ with $z$ the CKA in standard deviations; it holds whatever the
        distribution, and is generous.

        Raises:
            ValueError: If there is no such site, or the measure is not CKA.
        """
        if self.chance is None:
            raise ValueError(f"What chance gives is known of cka, not of {self.measure}.")
        at = self.index(first), self.index(second)
        z = max(float(self.values[at] / self.chance[at]), 0.0)
        return 1 / (1 + z * z)

    def block(self, first: str, second: str) -> Float[np.ndarray, "layers layers"]:
        """Similarities of the layers of one model (rows) and another (columns).

        Raises:
            ValueError: If there is no such model.
        """
        return self.values[np.ix_(self._layers(first), self._layers(second))]

    def of(self, *models: str) -> Similarity:
        """The same for some of the models only.

        Raises:
            ValueError: If there is no such model.
        """
        kept = [i for model in models for i in self._layers(model)]
        square = np.ix_(kept, kept)
        return replace(
            self,
            sites=tuple(self.sites[i] for i in kept),
            values=self.values[square],
            errors=self.errors[square],
            chance=None if self.chance is None else self.chance[square],
            spreads=tuple(self.spreads[i] for i in kept),
        )

    def to_json(self) -> dict[str, Any]:
        """As plain data: values with both ends of their intervals, None where one is undefined."""
        reach = self.errors * student(self.batches - 1)
        return {
            "measure": self.measure,
            "sites": [list(site) for site in self.sites],
            "values": plain(self.values),
            "low": plain(self.values - reach),
            "high": plain(self.values + reach),
            "batches": self.batches,
            "rows": self.rows,
            "caveats": list(self.caveats()),
        }

    def caveats(self) -> tuple[str, ...]:
        """What to beware of when reading the values, as sentences."""
        return tuple(self._caveats())

    def _caveats(self) -> Iterator[str]:
        n, widest = self.rows / self.batches, max(spread.dimensions for spread in self.spreads)
        yield (
            f"{self.rows} rows in {self.batches} batches of {n:.4g}; features have up to {widest} dimensions"
            + (
                ": a biased estimate would be near 1 whatever they hold, this one is unbiased."
                if self.measure == "cka" and widest > n
                else "."
            )
        )
        if self.measure != "cka":
            yield f"Neighbours are sought within batches of {n:.4g} rows: compare only with values from such."
        yield from self._interval_caveats()
        for site, spread in zip(self.sites, self.spreads, strict=True):
            if np.isnan(spread.share):
                yield f"{_name(site)} gives every row the same features, so nothing can be said of it."
        for model in dict.fromkeys(site.model for site in self.sites):
            yield from self._outlier_caveats(model)

    def _outlier_caveats(self, model: str) -> Iterator[str]:
        """One sentence for a model, however many of its layers are so."""
        heavy = [
            (site, spread)
            for site, spread in zip(self.sites, self.spreads, strict=True)
            if site.model == model and spread.share > _HEAVY and spread.dimensions > 2 * _FEW
        ]
        if not heavy:
            return
        site, spread = max(heavy, key=lambda each: each[1].share)
        others = len(heavy) - 1
        others_too = f"; so it is, less so, at {others} more of its layers" if others else ""
        yield (
            f"{_FEW} of {spread.dimensions} dimensions of {_name(site)} carry {spread.share:.0%} of the variance"
            f"{others_too}: similarities there say little of the other dimensions."
        )

    def _interval_caveats(self) -> Iterator[str]:
        if self.batches < 2:
            yield "There is one batch only, so no interval can be given. Use two or more, better ten."
            return
        above = np.triu(np.ones_like(self.values, bool), 1)
        widths = 2 * student(self.batches - 1) * self.errors[above]
        if widths.size and np.isfinite(widths).any():
            yield (
                f"95 % intervals are up to {np.nanmax(widths):.2g} wide, half of them at most "
                f"{np.nanmedian(widths):.2g}: smaller differences mean nothing."
                + (" Use more data." if np.nanmax(widths) > _WIDE else "")
            )
        if self.chance is not None:
            z = np.maximum(self.values, 0)[above] / self.chance[above]
            weak = int((1 / (1 + z * z) > _CHANCE).sum())
            if weak:
                yield f"{weak} of {z.size} pairs are not clearly above what permuted rows would give."

    def index(self, site: tuple[str, str]) -> int:
        """Row and column of a site.

        Raises:
            ValueError: If there is no such site.
        """
        try:
            return self.sites.index(Site(*site))
        except ValueError as error:
            near = ", ".join(_name(each) for each in self.sites[:4])
            raise ValueError(f"Expected one of the sites {near}, …, found {_name(Site(*site))}.") from error

    def _layers(self, model: str) -> list[int]:
        found = [i for i, site in enumerate(self.sites) if site.model == model]
        if not found:
            names = ", ".join(dict.fromkeys(site.model for site in self.sites))
            raise ValueError(f"Expected one of the models {names}, found {model!r}.")
        return found


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to three digits; NaN without a degree of freedom."""
    if freedom < 1:
        return float("nan")
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = _Z
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _name(site: Site) -> str:
    return f"{site.layer} of {site.model}"
