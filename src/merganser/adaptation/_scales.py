"""Experts of one base as checkpoints of scales that fit each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from merganser.adaptation._expert import ExpertVector
from merganser.adaptation._mix import common_base
from merganser.weights import Checkpoint


def scale_checkpoints(experts: Sequence[ExpertVector]) -> tuple[Checkpoint, ...]:
    """Scales of each expert, float64: for all of them of the same matrices and directions.

    Where one does not adapt a matrix or a direction that another does, its scale there is 1.

    Args:
        experts: The experts.

    Raises:
        ValueError: If there are none, or they are of different bases.

    Examples:
        >>> import torch
        >>> one = ExpertVector.from_gains({"a": torch.tensor([0.5])}, {"a": "digest of a"})
        >>> two = ExpertVector.from_gains({"b": torch.tensor([0.5, 0.0])}, {"b": "digest of b"})
        >>> first, second = scale_checkpoints([one, two])
        >>> first.read("b")
        tensor([1., 1.], dtype=torch.float64)
    """
    base = common_base(experts)
    sizes = {
        name: max(len(expert.vectors[name]) for expert in experts if name in expert.vectors) for name in base
    }
    return tuple(_scales(expert, sizes) for expert in experts)


def _scales(expert: ExpertVector, sizes: Mapping[str, int]) -> Checkpoint:
    import torch

    found = {name: torch.ones(size, dtype=torch.float64) for name, size in sizes.items()}
    for name in expert:
        gains = expert.gains(name)
        found[name][: len(gains)] += gains
    return Checkpoint.from_tensors(found, copy=False)
