r"""What a merge in core space computes, tensor by tensor: cores from factors, one merged core, factors again.

| step | formula | here |
| --- | --- | --- |
| bases and cores | $s_t B_t A_t = U M_t V^\top$ | `CoreLayer.space`, by [`core_space`][] |
| merge | $M = f(M_1, \dots, M_T)$ | `MergedCores`, by the engine that merges whole tensors too |
| factors | $L R = (U M)\, V^\top$ | `MergedCores.factors` |
| the same, cut to $k$ | $L R = (U P_k \sqrt{S_k})(\sqrt{S_k}\, Q_k^\top V^\top)$, where $M = P S Q^\top$ | the same |

The second form of the factors has the largest directions first, of equal length on both sides, so that cutting it after
$k$ of them is the best approximation of that rank. What is cut away is the energy $\sum_{i>k} \sigma_i^2$.

An adapter that does not change a tensor has the core zero. Everything is in float64 up to the factors, and computed
when it is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
from jaxtyping import Float

from merganser._errors import CheckpointError
from merganser.merging._core_space import Adapter, CoreSpace, core_space
from merganser.merging.methods import MergeMethod, on_core
from merganser.weights import Aligned, Bytes, Checkpoint, Execution, FileStamp, LowRank, Placement, TensorSpec

if TYPE_CHECKING:
    from torch import Tensor

_SCRATCH = 8
"""Matrices of a core's size that a method and a decomposition take."""

_HELD = 8
"""Tensors whose bases are kept for what is asked next."""


class Product(NamedTuple):
    """What one adapter adds to a tensor: its factors, and where they are read."""

    adapter: Checkpoint
    placement: Placement

    @property
    def keys(self) -> tuple[str, str]:
        """Names of the factors A and B in the adapter."""
        assert self.placement.change.factors is not None
        return self.placement.change.factors

    @property
    def rank(self) -> int:
        """Rank of the product, at most."""
        return self.adapter.spec(self.keys[0]).shape[0]

    def load(self) -> Adapter:
        """The factors in float64, as they lie on the base's tensor, scale included.

        Raises:
            CheckpointError: If one holds a number that is none.
        """
        for key in self.keys:
            if not self.adapter.read(key).isfinite().all():
                raise CheckpointError(
                    f"Tensor {key!r} of {self.adapter.source} holds a number that is NaN or infinite. The adapter is "
                    "damaged: use a sound copy."
                )
        update = self.placement.load(self.adapter)
        return Adapter(update.right.double(), update.left.double() * update.scaling)


@dataclass(frozen=True)
class CoreLayer:
    """One tensor that adapters change by products alone.

    Args:
        spec: The base's tensor.
        products: What each adapter adds; None for one that leaves it as it is, but not for all.
        method: How it is merged.
        has_base: Whether the method works on differences from a base.
        transposed: Whether the method is shown it with its two axes exchanged.
    """

    spec: TensorSpec
    products: tuple[Product | None, ...]
    method: MergeMethod
    has_base: bool
    transposed: bool = False

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of the core."""
        rank = sum(product.rank for product in self.present)
        return min(rank, self.spec.shape[0]), min(rank, self.spec.numel // self.spec.shape[0])

    @property
    def memory(self) -> int:
        """Bytes that merging it takes, about."""
        left, right = self.sides
        rows = self.spec.shape[0]
        bases = 3 * (rows * left + self.spec.numel // rows * right)
        return 8 * (bases + (len(self.products) + _SCRATCH) * left * right)

    @property
    def present(self) -> list[Product]:
        """What changes it."""
        return [product for product in self.products if product is not None]

    def space(self) -> CoreSpace:
        """Bases, and one core for each adapter.

        Raises:
            CheckpointError: If an adapter is damaged.
        """
        u, held, v = core_space([product.load() for product in self.present])
        cores = held.new_zeros(len(self.products), *self.sides)
        cores[[i for i, product in enumerate(self.products) if product is not None]] = held
        return CoreSpace(u, cores, v)


class Truncation(NamedTuple):
    r"""Energy $\sum_i \sigma_i^2$ of a merged change, and of that what the chosen rank leaves out."""

    energy: float
    lost: float

    @property
    def share(self) -> float:
        """Share that is lost, in [0, 1]."""
        return self.lost / self.energy if self.energy > 0 else 0.0


@final
class MergedCores:
    """The merged change of every tensor of the kind that `CoreLayer` describes.

    Args:
        layers: The tensors, by name.
        seed: Key of random numbers.
        rank: Most directions to keep; None for all.
        balanced: Whether factors are wanted in the second form even if all directions are kept.
    """

    def __init__(
        self,
        layers: Mapping[str, CoreLayer],
        *,
        seed: int = 0,
        rank: int | None = None,
        balanced: bool = False,
    ) -> None:
        from merganser.merging._execute import Engine  # a plan holds cores, and cores carry out a plan
        from merganser.merging._plan import MergePlan, Target

        self.layers = layers
        self._rank, self._balanced = rank, balanced or rank is not None
        self._truncations: dict[str, Truncation] = {}
        self._space = lru_cache(_HELD)(lambda name: layers[name].space())
        self.factors = lru_cache(_HELD)(self._factors)
        self._lock, self._is_measured = threading.Lock(), False
        models = max((len(layer.products) for layer in layers.values()), default=0)
        inputs = [Checkpoint(_CoreTensors(self, model), source="cores") for model in range(models)]
        base = Checkpoint(_CoreTensors(self, None), source="zeros")
        self._targets = {
            name: Target(*_parts(layer, base, inputs), has_base=layer.has_base, transposed=layer.transposed)
            for name, layer in layers.items()
        }
        plan = MergePlan("cores", tuple(inputs), base, tuple(self._targets.values()), {}, seed=seed)
        self._engine = Engine(plan, Execution())

    @property
    def memory(self) -> int:
        """Bytes that merging one tensor takes, about: factors and bases, cores, and what decomposing them needs."""
        return max((layer.memory for layer in self.layers.values()), default=0)

    def rank_of(self, name: str) -> int:
        """Rank of a tensor's merged change, at most."""
        most = min(self.layers[name].sides)
        return most if self._rank is None else min(most, self._rank)

    def _factors(self, name: str) -> LowRank:
        """The merged change of a tensor as a product, scale included.

        Raises:
            CheckpointError: If an adapter is damaged.
            ValueError: If the method cannot work with what it found.
        """
        import torch

        u, _, v = self._space(name)
        merged = self._merged(name)
        if not self._balanced:
            return LowRank(u @ merged, v.T.contiguous(), 1.0)
        p, s, q = torch.linalg.svd(merged, full_matrices=False)
        rank, squares = self.rank_of(name), s.square()
        self._truncations[name] = Truncation(squares.sum().item(), squares[rank:].sum().item())
        root = s[:rank].sqrt()
        return LowRank((u @ p[:, :rank]) * root, root[:, None] * (q[:rank] @ v.T), 1.0)

    def truncations(self) -> dict[str, Truncation]:
        """What the chosen rank costs each tensor; computes what has not been computed yet.

        Raises:
            CheckpointError: If an adapter is damaged.
            ValueError: If the method cannot work with what it found.
        """
        if not self._balanced:
            return {}
        for name in self.layers:
            if name not in self._truncations:
                self._factors(name)
        return {name: self._truncations[name] for name in self.layers}

    def _merged(self, name: str) -> Float[Tensor, "left right"]:
        from merganser.merging._execute import MemorySink

        with self._lock:  # measuring the whole model comes first, once
            if not self._is_measured:
                self._engine.run([], MemorySink([]))
                self._is_measured = True
        sink = MemorySink([self._targets[name]])
        self._engine.run([self._targets[name]], sink)
        return sink.tensors[name]

    def core(self, name: str, model: int) -> Float[Tensor, "left right"]:
        """One adapter's core."""
        return self._space(name).cores[model]


@final
class _CoreTensors:
    """One adapter's cores, or those of the base, which are zero, as tensors of a checkpoint."""

    def __init__(self, merged: MergedCores, model: int | None) -> None:
        self._merged, self._model = merged, model
        self.specs: Mapping[str, TensorSpec] = {
            name: TensorSpec(name, "F64", layer.sides) for name, layer in merged.layers.items()
        }

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """None: they are computed."""
        return ()

    def view(self, name: str) -> Bytes:
        """The core."""
        if self._model is None:
            return np.zeros(self.specs[name].nbytes, np.uint8)
        return self._merged.core(name, self._model).numpy().reshape(-1).view(np.uint8)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same, at once."""
        yield self.view(name).data


def _parts(
    layer: CoreLayer, base: Checkpoint, inputs: Sequence[Checkpoint]
) -> tuple[TensorSpec, Aligned, MergeMethod]:
    """What becomes of a layer's cores, of what it is made, and how."""
    name, shape = layer.spec.name, layer.spec.shape[::-1] if layer.transposed else layer.spec.shape
    checkpoints = [*([base] if layer.has_base else []), *inputs]
    method = on_core(layer.method, name, shape, len(inputs))
    sources = Aligned(
        tuple((each, name) for each in checkpoints), whole_rows=method.whole_rows, in_one=layer.transposed
    )
    return TensorSpec(name, "F64", layer.sides), sources, method
