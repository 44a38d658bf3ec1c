r"""What evolves: genomes, and the spaces in which they are crossed.

A *genome* is a value with a digest; a *space* knows its seeds, how many positions a split point may fall
on, and how two genomes make a child. Searches see nothing else.

| space | genome | child | for |
| --- | --- | --- | --- |
| [`CombinationSpace`][] | [`Combination`][] of the seeds | crossover in the lineage algebra | models that exist |
| [`DenseSpace`][] | [`DenseGenome`][], a vector | crossover, then noise on every coordinate | models from scratch |

A dense child is built when somebody asks for its vector, so a search can be replayed from a journal without
building the children that were rejected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Int

from merganser.evolution._random import NormalTable, keyed_generator
from merganser.merging import (
    Angles,
    Chromosomes,
    Combination,
    Gram,
    Rule,
    combine_flat,
    crossover,
    crossover_apart,
    linear_weights,
    slerp_weights,
)

_REMEMBERED_ANGLES = 4096
_SPLIT_DRAWS = (2, 4, 5, 6, 7)
"""Which of a child's uniform numbers are for split points; the second and third are for noise where there is some."""


@runtime_checkable
class Genome(Protocol):
    """A candidate as a value."""

    @property
    def digest(self) -> str:
        """Hash that names the candidate: equal digests are equal models."""
        ...


@dataclass(frozen=True, slots=True)
class Cross:
    """How a child comes from two parents: everything random about it, as numbers.

    Attributes:
        weight: $w_m$ in [0, 1), weight of the second parent before the split, one minus it after.
        split: $w_s$ in [0, P]; 0 is plain interpolation. Of several chromosomes: all positions before their splits.
        noise: Two uniforms that choose the mutation, or None for no mutation.
        splits: The split of each of several chromosomes; empty for plain interpolation.
    """

    weight: float
    split: int = 0
    noise: tuple[float, float] | None = None
    splits: tuple[int, ...] = ()


@runtime_checkable
class Seeded(Protocol):
    """Genomes that a run starts from, and that vectors decode to."""

    @property
    def seeds(self) -> Sequence[Any]:
        """The genomes a run starts from, the parents first."""
        ...

    @property
    def mutates(self) -> bool:
        """Whether children carry noise of their own, so that no two are ever equal."""
        ...

    def keep(self, genome: Any) -> None:
        """Told that a genome has joined an archive, and will be a parent."""
        ...


@runtime_checkable
class Space(Seeded, Protocol):
    """Where genomes are crossed."""

    @property
    def size(self) -> int:
        """Number of positions P that a split point may fall on."""
        ...

    @property
    def chromosomes(self) -> Sequence[int]:
        """Number of positions of each chromosome: of groups that are split independently; often just P."""
        ...

    def child(self, first: Any, second: Any | None, cross: Cross) -> Any:
        """The child of one or two genomes."""
        ...

    def flat(self, genome: Any) -> Float[np.ndarray, " positions"]:
        """The genome's parameters in flat order."""
        ...


class CombinationSpace:
    """Descendants of given checkpoints, in the lineage algebra.

    Args:
        digests: Digest of each seed.
        seeds: Flat parameters of each seed, finite; or only their inner products, for models that stay on disk.
        rule: Arc or line.
        angles: One angle per child, or one for each side of the split.
        chromosomes: Groups of positions that are split independently; None for one.

    Raises:
        ValueError: If there is no seed, one holds a value that is not finite, there are more than five chromosomes, or
            they are to have an angle for each side.
    """

    mutates = False

    def __init__(
        self,
        digests: Sequence[str],
        seeds: Float[np.ndarray, "seeds positions"] | Gram,
        *,
        rule: Rule = "slerp",
        angles: Angles = "whole",
        chromosomes: Chromosomes | None = None,
    ) -> None:
        if chromosomes is not None:
            _check_chromosomes(chromosomes, angles)
        count = seeds.seeds if isinstance(seeds, Gram) else len(seeds)
        if len(digests) == 0 or len(digests) != count:
            raise ValueError(
                f"Expected one digest per seed and at least one seed, got {len(digests)} and {count}."
            )
        self._values = None if isinstance(seeds, Gram) else _finite(seeds, digests)
        self._rule: Rule = rule
        self._angles: Angles = angles
        self._chromosomes = chromosomes
        self.gram = seeds if isinstance(seeds, Gram) else Gram.of(seeds)
        self.size = self.gram.size
        self.chromosomes = (self.size,) if chromosomes is None else chromosomes.sizes
        self.seeds = tuple(Combination.seed(tuple(digests), k, self.size) for k in range(len(digests)))

    def child(self, first: Combination, second: Combination | None, cross: Cross) -> Combination:
        """Crossover; without a second parent the first one again."""
        if second is None:
            return first
        if self._chromosomes is not None:
            return crossover_apart(
                first,
                second,
                weight=cross.weight,
                splits=cross.splits or (0,) * len(self.chromosomes),
                chromosomes=self._chromosomes,
                gram=self.gram,
                rule=self._rule,
            )
        return crossover(
            first,
            second,
            weight=cross.weight,
            split=cross.split,
            gram=self.gram,
            rule=self._rule,
            angles=self._angles,
        )

    def keep(self, genome: Combination) -> None:
        """Nothing to do: a combination is complete by itself."""

    def flat(self, genome: Combination) -> Float[np.ndarray, " positions"]:
        """The genome's parameters in flat order, in the seeds' dtype.

        Raises:
            ValueError: If only the seeds' inner products are known.
        """
        if self._values is None:
            raise ValueError("These seeds stay on disk: carry out the genome's plan (`plan_combination`).")
        return combine_flat(genome, self._values)


def _finite(
    seeds: Float[np.ndarray, "seeds positions"], digests: Sequence[str]
) -> Float[np.ndarray, "seeds positions"]:
    broken = np.flatnonzero(~np.isfinite(seeds).all(axis=1))
    if broken.size:
        position = int(np.flatnonzero(~np.isfinite(seeds[broken[0]]))[0])
        raise ValueError(
            f"Seed {broken[0]} ({digests[broken[0]]}) holds {seeds[broken[0], position]} at position {position}. "
            "A model with values that are not finite cannot be merged; leave it out."
        )
    return seeds


class DenseGenome:
    """A flat vector of parameters, built when first asked for.

    Args:
        digest: Hash of the ancestry.
        build: Makes the vector; dropped once it has.
    """

    __slots__ = ("_build", "_vector", "digest")

    def __init__(self, digest: str, build: Callable[[], Float32[np.ndarray, " positions"]]) -> None:
        self.digest = digest
        self._build: Callable[[], np.ndarray] | None = build
        self._vector: np.ndarray | None = None

    @property
    def vector(self) -> Float32[np.ndarray, " positions"]:
        """The parameters; read-only."""
        if self._vector is None:
            assert self._build is not None
            self._vector, self._build = self._build(), None
            self._vector.flags.writeable = False
        return self._vector

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to another process as its vector, without its ancestry."""
        return _dense_as_sent, (self.digest, self.vector)


def _dense_as_sent(digest: str, vector: Float32[np.ndarray, " positions"]) -> DenseGenome:
    return DenseGenome(digest, lambda: vector)


class DenseSpace:
    r"""Small models as plain vectors: crossover, then Gaussian noise on every coordinate.

    Args:
        seed: Seed of the run; starting points and noise follow from it.
        size: Number of parameters P.
        starts: The vectors to start from; by default `count` draws of $N(0, 0.01^2)$.
        count: How many starting points to draw.
        sigma: Standard deviation of the mutation; 0 for none.
        rule: Arc or line.
        angles: One angle per child, or one for each side of the split.
        pools: For each position the pool that it is in, from 0: all of a pool are mutated alike, and searched as one
            number. By default each position is a pool.
        is_around_starts: Whether random candidates are children of the starts; else they are further starting points.

    Attributes:
        pools: The same.
        is_around_starts: The same.
    """

    def __init__(
        self,
        seed: int,
        size: int,
        *,
        starts: Sequence[Float32[np.ndarray, " positions"]] | None = None,
        count: int = 2,
        sigma: float = 0.01,
        rule: Rule = "slerp",
        angles: Angles = "whole",
        pools: Int[np.ndarray, " positions"] | None = None,
        is_around_starts: bool = False,
    ) -> None:
        if starts is None:
            starts = [random_start(seed, k, size) for k in range(count)]
        self.size, self.chromosomes, self.mutates = size, (size,), sigma > 0
        self._rule, self._angles = rule, angles
        self.pools, self.is_around_starts = pools, is_around_starts
        drawn = size if pools is None else int(pools.max()) + 1
        self._noise = NormalTable(seed, drawn, sigma) if sigma > 0 else None
        pooled = "" if pools is None else f" {hashlib.blake2b(pools.astype('<i8').tobytes()).hexdigest()}"
        self._key = hashlib.blake2b(f"dense {seed} {sigma!r} {rule} {angles}{pooled}".encode()).digest()
        self._drawn = drawn
        self._remembered: dict[tuple[str, str], float | None] = {}
        self.seeds = tuple(dense_genome(vector) for vector in starts)

    def child(self, first: DenseGenome, second: DenseGenome | None, cross: Cross) -> DenseGenome:
        """Crossover and mutation; without a second parent a mutated copy of the first."""
        digest = self._digest(first, second, cross)
        if second is None:
            return DenseGenome(digest, lambda: self._mutated(first.vector.copy(), cross))
        return DenseGenome(digest, lambda: self._mutated(self._crossed(first, second, cross), cross))

    def keep(self, genome: DenseGenome) -> None:
        """Build the vector, so that the genome no longer holds on to its parents."""
        _ = genome.vector

    def flat(self, genome: DenseGenome) -> Float32[np.ndarray, " positions"]:
        """The genome's parameters; read-only."""
        return genome.vector

    def _digest(self, first: DenseGenome, second: DenseGenome | None, cross: Cross) -> str:
        mate = second.digest if second is not None else ""
        event = f"{first.digest} {mate} {cross.weight!r} {cross.split} {cross.noise!r}"
        return hashlib.blake2b(event.encode(), digest_size=16, key=self._key).hexdigest()

    def _mutated(self, vector: np.ndarray, cross: Cross) -> Float32[np.ndarray, " positions"]:
        if self._noise is None or cross.noise is None:
            return vector
        if self.pools is None:
            self._noise.add_to(vector, *cross.noise)
            return vector
        noise = np.zeros(self._drawn, np.float32)
        self._noise.add_to(noise, *cross.noise)
        return vector + noise[self.pools]

    def _crossed(
        self, first: DenseGenome, second: DenseGenome, cross: Cross
    ) -> Float32[np.ndarray, " positions"]:
        a, b, split, w = first.vector, second.vector, cross.split, cross.weight
        if self._rule == "linear":
            left, right = linear_weights(w), linear_weights(1.0 - w)
        elif self._angles == "whole":
            whole = self._angle(first, second)
            left, right = slerp_weights(w, whole), slerp_weights(1.0 - w, whole)
        else:
            left = slerp_weights(w, angle_between(a[:split], b[:split]))
            right = slerp_weights(1.0 - w, angle_between(a[split:], b[split:]))
        child = np.empty_like(a)
        for part, (wa, wb) in ((slice(None, split), left), (slice(split, None), right)):
            np.multiply(a[part], wa, out=child[part])
            child[part] += b[part] * wb
        return child

    def _angle(self, first: DenseGenome, second: DenseGenome) -> float | None:
        """Angle between two parents, remembered: an archive draws the same pairs again and again."""
        pair = (
            (first.digest, second.digest) if first.digest < second.digest else (second.digest, first.digest)
        )
        if pair not in self._remembered:
            if len(self._remembered) >= _REMEMBERED_ANGLES:
                self._remembered.clear()
            self._remembered[pair] = angle_between(first.vector, second.vector)
        return self._remembered[pair]


def drawn_cross(space: Space, u: Sequence[float], *, split_point: bool = True) -> Cross:
    """What a child's eight uniform numbers say of its crossover: weight, split points and mutation.

    Args:
        space: Where its parents live.
        u: The numbers.
        split_point: Whether there are split points at all.
    """
    noise = (u[4], u[5]) if space.mutates else None
    if not split_point:
        return Cross(u[3], 0, noise)
    splits = tuple(int(u[i] * size) for i, size in zip(_SPLIT_DRAWS, space.chromosomes, strict=False))
    return Cross(u[3], sum(splits), noise, splits if len(splits) > 1 else ())


def _check_chromosomes(chromosomes: Chromosomes, angles: Angles) -> None:
    count = len(chromosomes.sizes)
    if count > len(_SPLIT_DRAWS):
        raise ValueError(f"There may be at most {len(_SPLIT_DRAWS)} chromosomes, but there are {count}.")
    if angles == "sides":
        raise ValueError(
            "Chromosomes are split independently, so there is no angle on each side of one split. Use angles='whole'."
        )


def random_start(seed: int, index: int, size: int) -> Float32[np.ndarray, " positions"]:
    """A starting point from $N(0, 0.01^2)$, as in the paper's from-scratch setting."""
    return 0.01 * keyed_generator(seed, "start", index).standard_normal(size, np.float32)


def dense_genome(vector: Float[np.ndarray, " positions"]) -> DenseGenome:
    """A genome for a vector that is given; its digest is that of its bytes.

    Raises:
        ValueError: If a value is not finite.
    """
    values = np.array(vector, dtype="<f4")
    if not np.isfinite(values).all():
        position = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"A genome must be finite, but position {position} holds {values[position]}.")
    return DenseGenome(hashlib.blake2b(values.tobytes(), digest_size=16).hexdigest(), lambda: values)


def angle_between(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float | None:
    """Angle in radians, accumulated in float64; None where one vector is zero or empty."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.sqrt((a @ a) * (b @ b))
    if not lengths > 0:
        return None
    return float(np.arccos(np.clip((a @ b) / lengths, -1.0, 1.0)))
