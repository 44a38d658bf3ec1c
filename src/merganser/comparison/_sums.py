"""The accumulator: batches go in, similarities come out; sums of shards of the data add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from merganser._errors import ConfigError
from merganser.comparison._file import read_arrays, write_arrays
from merganser.comparison._products import ProductSums
from merganser.comparison._relations import Measure, Relations, Site, refuse_twice, relate
from merganser.comparison._similarity import Similarity, Spread

_KIND = "similarity sums"
_PARTS = tuple(field.name for field in fields(ProductSums))


@dataclass(frozen=True, slots=True)
class SimilaritySums:
    """What batches seen so far add to the comparison of all sites; a value.

    Begin with `of`, add batches or sums of other shards with `+`, and ask for `similarity`. The size does not grow with
    the data: 40 bytes for each pair of sites and measure.

    Attributes:
        sites: The sites.
        batches: Number of batches.
        rows: Rows of all batches.
        neighbours: As in [`relate`][].
        products: For each measure the sums.
        energies: For each site the sum of squares of each of its centred dimensions, of some of the rows.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(64, 20))
        >>> y = x + 0.5 * rng.normal(size=x.shape)
        >>> batches = [{("a", "last"): x[i : i + 16], ("b", "last"): y[i : i + 16]} for i in range(0, 64, 16)]
        >>> sums = SimilaritySums.of(batches[0])
        >>> for batch in batches[1:]:
        ...     sums += batch
        >>> found = sums.similarity().between(("a", "last"), ("b", "last"))
        >>> 0 < found.low < found.value < found.high < 1
        True
    """

    sites: tuple[Site, ...]
    batches: int
    rows: int
    neighbours: int | None
    products: Mapping[Measure, ProductSums]
    energies: tuple[Float[np.ndarray, " d"], ...]

    @classmethod
    def of(
        cls,
        batch: Relations | Mapping[tuple[str, str], Float[Any, "rows d"]],
        *,
        neighbours: int | None = None,
    ) -> SimilaritySums:
        """Those of one batch; arguments and errors are those of [`relate`][].

        Args:
            batch: Features at each site, or their relations, which know their `neighbours` already.
            neighbours: As there.
        """
        found = batch if isinstance(batch, Relations) else relate(batch, neighbours=neighbours)
        products: dict[Measure, ProductSums] = {
            m: ProductSums.of(v, found.rows) for m, v in found.vectors.items()
        }
        return cls(found.sites, 1, found.rows, found.neighbours, products, found.energies)

    def __add__(
        self, other: SimilaritySums | Relations | Mapping[tuple[str, str], Float[Any, "rows d"]]
    ) -> SimilaritySums:
        if not isinstance(other, SimilaritySums):
            other = SimilaritySums.of(other, neighbours=self.neighbours)
        if (other.sites, other.neighbours) != (self.sites, self.neighbours):
            raise ValueError(
                f"Expected sums over the same {len(self.sites)} sites in the same order with "
                f"neighbours={self.neighbours}, found {len(other.sites)} sites with neighbours={other.neighbours}. "
                "Only shards of one comparison can be added."
            )
        if [len(e) for e in other.energies] != [len(e) for e in self.energies]:
            raise ValueError(
                "The features of a site have not the same number of columns in all batches. Give each site one layer's."
            )
        products: dict[Measure, ProductSums] = {
            m: sums + other.products[m] for m, sums in self.products.items()
        }
        energies = tuple(a + b for a, b in zip(self.energies, other.energies, strict=True))
        return SimilaritySums(
            self.sites,
            self.batches + other.batches,
            self.rows + other.rows,
            self.neighbours,
            products,
            energies,
        )

    def similarity(self, measure: Measure = "cka") -> Similarity:
        """What the data say so far.

        Args:
            measure: `cka`, or `cknna` or `mutual_knn` if neighbours were asked for.

        Raises:
            ValueError: If it was not measured.
        """
        if measure not in self.products:
            raise ValueError(
                f"Expected one of {', '.join(self.products)}, found {measure!r}. Neighbours are measured if "
                "`neighbours` is given."
            )
        sums = self.products[measure]
        return Similarity(
            measure,
            self.sites,
            sums.similarity(),
            sums.errors(self.batches),
            sums.chances() if measure == "cka" else None,
            self.batches,
            self.rows,
            tuple(Spread.of(energy) for energy in self.energies),
        )

    def save(self, path: str | Path) -> None:
        """Write them to an npz file, atomically.

        Raises:
            OutputError: If it cannot be written.
        """
        arrays = {f"{m}.{part}": getattr(sums, part) for m, sums in self.products.items() for part in _PARTS}
        arrays |= {f"energy.{i}": energy for i, energy in enumerate(self.energies)}
        about = {
            "sites": self.sites,
            "batches": self.batches,
            "rows": self.rows,
            "neighbours": self.neighbours,
        }
        write_arrays(path, _KIND, about, arrays)

    @classmethod
    def open(cls, path: str | Path) -> SimilaritySums:
        """Read what `save` wrote.

        Raises:
            ConfigError: If the file is none of these, or damaged.
        """
        about, arrays = read_arrays(path, _KIND)
        try:
            sites = tuple(Site(*site) for site in about["sites"])
            refuse_twice(sites)
            products: dict[Measure, ProductSums] = {
                cast("Measure", measure): ProductSums(
                    *(_square(arrays[f"{measure}.{part}"], sites) for part in _PARTS)
                )
                for measure in dict.fromkeys(name.partition(".")[0] for name in arrays)
                if measure != "energy"
            }
            energies = tuple(arrays[f"energy.{i}"] for i in range(len(sites)))
            return cls(sites, about["batches"], about["rows"], about["neighbours"], products, energies)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{path} is damaged: {error}. Measure this shard again.") from error


def _square(array: np.ndarray, sites: tuple[Site, ...]) -> Float[np.ndarray, "sites sites"]:
    if array.shape != (len(sites),) * 2:
        raise ValueError(f"a sum over {len(sites)} sites has the shape {array.shape}")
    return array
