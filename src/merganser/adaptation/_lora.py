r"""An expert as a LoRA adapter of PEFT, for tools that know nothing else.

The change $U\,\mathrm{diag}(\sigma \circ (e - 1))\,V^\top$ is its own singular value decomposition but for signs
and order. The best adapter of rank $k$ therefore keeps the $k$ directions with the largest $|\sigma (e - 1)|$, and
the share of $\|\Delta W\|_F^2$ that it keeps is the share of their squares. Trained experts use nearly all
directions: expect a loss unless the rank is near the full one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float

from merganser.adaptation._decomposition import Decomposition
from merganser.adaptation._expert import ExpertVector
from merganser.adaptation._factors import Factors
from merganser.adaptation._fold import check_decomposition
from merganser.merging import is_inputs_first
from merganser.weights import (
    ADAPTER_CONFIG_NAME,
    ADAPTER_NAMES,
    Checkpoint,
    atomic_directory,
    atomic_write_text,
    save,
)

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class LoraConversion:
    r"""An adapter, and what it kept.

    Args:
        path: The adapter's folder.
        rank: Its rank.
        kept: Share of $\|\Delta W\|_F^2$ that it kept, in (0, 1], for each matrix that the expert changes.
    """

    path: Path
    rank: int
    kept: Mapping[str, float]


def as_lora(
    base: Checkpoint,
    expert: ExpertVector,
    decomposition: Decomposition,
    path: str | Path,
    *,
    rank: int,
    overwrite: bool = False,
) -> LoraConversion:
    """Write an expert as a LoRA adapter.

    Args:
        base: The base; says which way round matrices are stored.
        expert: The expert.
        decomposition: Of the base.
        path: Folder to write.
        rank: Rank of the adapter; matrices with fewer changed directions are filled up with zeros.
        overwrite: Whether a folder that is there may be replaced.

    Raises:
        CheckpointError: If the expert was made for another base.
        ValueError: If `rank` is not positive, the expert changes nothing, or the decomposition lacks directions.
        OutputError: If the folder exists and may not be replaced, or cannot be written.
    """
    if rank < 1:
        raise ValueError(f"`rank` must be at least 1, but is {rank}.")
    check_decomposition(expert, decomposition)
    kept: dict[str, float] = {}
    tensors: dict[str, Tensor] = {}
    for name in expert:
        gains = expert.gains(name)
        if gains.any():
            left, right, kept[name] = _best(decomposition[name].leading(len(gains)), gains, rank)
            module = name.removesuffix(".weight")
            a, b = (left, right.T) if is_inputs_first(base, name) else (right, left.T)
            tensors[f"{_PREFIX}{module}.lora_A.weight"] = a.contiguous()
            tensors[f"{_PREFIX}{module}.lora_B.weight"] = b.contiguous()
    if not kept:
        raise ValueError("The expert changes nothing: all its gains are 0. There is no adapter to write.")
    place = Path(path).expanduser()
    with atomic_directory(place, overwrite=overwrite) as folder:
        save(tensors, folder / ADAPTER_NAMES[0])
        config = _config(base, list(kept), rank)
        atomic_write_text(folder / ADAPTER_CONFIG_NAME, json.dumps(config, indent=2, sort_keys=True) + "\n")
    return LoraConversion(place, rank, kept)


def _best(
    factors: Factors, gains: Float[Tensor, " directions"], rank: int
) -> tuple[Float[Tensor, "rank rows"], Float[Tensor, "rank columns"], float]:
    """The change's largest directions, its length shared by both sides, and the share that they hold."""
    import torch

    change = factors.sigma.double() * gains.double()
    sizes, order = change.abs().sort(descending=True, stable=True)
    chosen = order[:rank]
    root = sizes[:rank].sqrt().float().unsqueeze(1)
    left = factors.left[chosen] * root * change[chosen].sign().float().unsqueeze(1)
    right = factors.right[chosen] * root
    share = (sizes[:rank].square().sum() / sizes.square().sum()).item()
    missing = rank - len(chosen)
    pad = torch.nn.functional.pad
    return pad(left, (0, 0, 0, missing)), pad(right, (0, 0, 0, missing)), share


def _config(base: Checkpoint, names: list[str], rank: int) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.source,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": any(is_inputs_first(base, name) for name in names),
        "target_modules": sorted(name.removesuffix(".weight") for name in names),
        "init_lora_weights": True,
    }
