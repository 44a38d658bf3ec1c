"""Singular value decompositions of chosen matrices of a checkpoint, made once and kept in a folder.

The folder holds one safetensors file for each matrix, named by the digest of its numbers: `left` (directions, rows),
`sigma` (directions) and `right` (directions, columns), float32. A file appears whole or not at all, so an interrupted
pass goes on where it stopped. Directions come first, so that the leading ones are a contiguous part of the file and the
others are never read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, final

from merganser._errors import CheckpointError
from merganser.adaptation._choose import choose_matrices
from merganser.adaptation._factors import Factors, factorise, matrix_digest
from merganser.merging import default_workers
from merganser.weights import Checkpoint, open_checkpoint, save, single_threaded

if TYPE_CHECKING:
    from torch import Tensor

_NAMES = {"left", "sigma", "right"}


@final
@dataclass(frozen=True, slots=True, eq=False)
class Decomposition:
    """Factors of a model's matrices, by the names that these have in its files.

    Args:
        factors: The factors.
        source: What messages call the model.
    """

    factors: Mapping[str, Factors]
    source: str = "memory"

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", MappingProxyType(dict(self.factors)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.factors)

    def __len__(self) -> int:
        return len(self.factors)

    def __getitem__(self, name: str) -> Factors:
        """Factors of one matrix.

        Raises:
            ValueError: If the matrix was not decomposed.
        """
        if name not in self.factors:
            raise ValueError(
                f"{name!r} of {self.source} was not decomposed; {len(self)} other matrices were. Add it to `names` of "
                "`decompose`."
            )
        return self.factors[name]

    @property
    def digests(self) -> dict[str, str]:
        """Digests of the matrices."""
        return {name: factors.digest for name, factors in self.factors.items()}

    def leading(self, rank: int) -> Decomposition:
        """The same with the first directions of each matrix only: the truncated variant.

        Raises:
            ValueError: If `rank` is not positive.
        """
        if rank < 1:
            raise ValueError(f"`rank` must be at least 1, but is {rank}.")
        return Decomposition({name: f.leading(rank) for name, f in self.factors.items()}, self.source)


def decompose(
    checkpoint: Checkpoint,
    names: Sequence[str] | None = None,
    *,
    cache: str | Path | None = None,
    workers: int | None = None,
) -> Decomposition:
    """Decompose matrices of a checkpoint, one after the other, each by one thread.

    Args:
        checkpoint: The model.
        names: The matrices; by default those of [`choose_matrices`][].
        cache: Folder that keeps the factors; they are then mapped from it, and memory holds one matrix a thread.
        workers: Matrices at a time; by default one for each processor.

    Raises:
        ValueError: If there is no such tensor, or one is no matrix of finite numbers.
        CheckpointError: If the checkpoint is damaged.
        OutputError: If the cache cannot be written.
    """
    names = choose_matrices(checkpoint) if names is None else names
    folder = None if cache is None else Path(cache).expanduser()

    def one(name: str) -> Factors:
        try:
            matrix = checkpoint.read(name)
            return factorise(matrix) if folder is None else _remembered(folder, matrix)
        except ValueError as error:
            raise ValueError(f"{name!r} of {checkpoint.source} cannot be decomposed: {error}") from error

    with single_threaded(), ThreadPoolExecutor(workers or default_workers()) as pool:
        found = dict(zip(names, pool.map(one, names), strict=True))
    return Decomposition(found, checkpoint.source)


def _remembered(folder: Path, matrix: Tensor) -> Factors:
    """Factors from the cache; made and written where it has none, or a damaged one."""
    digest = matrix_digest(matrix)
    path = folder / f"{digest}.safetensors"
    found = _read(path, digest) if path.exists() else None
    if found is None or found.shape != tuple(matrix.shape):
        made = factorise(matrix)
        save({"left": made.left, "sigma": made.sigma, "right": made.right}, path, overwrite=True)
        found = _read(path, digest)
        assert found is not None
    return found


def _read(path: Path, digest: str) -> Factors | None:
    """Factors mapped from a file; None if it does not hold what it should."""
    try:
        file = open_checkpoint(path)
        if set(file) != _NAMES:
            return None
        left, sigma, right = (file.read(name) for name in ("left", "sigma", "right"))
    except CheckpointError:
        return None
    fits = left.ndim == right.ndim == 2 and len(left) == len(right) == len(sigma)
    return Factors(left, sigma, right, digest) if fits else None
