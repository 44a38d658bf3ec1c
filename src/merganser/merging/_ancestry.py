"""Whether a base looks like the one that the models were tuned from: a quick look at a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping

from merganser.merging._plan import MergePlan

FAR = 0.7
"""A task vector this long, beside the base, does not look like that of a fine-tune; strangers' have 1.4."""

_TENSORS = 24
_ELEMENTS = 1 << 14


def lengths_beside_base(plan: MergePlan) -> Mapping[str, float]:
    r"""How long each model's task vector is beside the base: $\lVert\theta_i - \theta_0\rVert / \lVert\theta_0\rVert$.

    Taken of the first 16,384 elements of two dozen tensors, evenly over the model; matrices only, since norms are
    close to 1 in all models. Empty where nothing is merged with a base.

    Args:
        plan: The merge.

    Raises:
        CheckpointError: If a model cannot be read.

    Examples:
        >>> import torch
        >>> from merganser.merging import plan_merge
        >>> from merganser.weights import Checkpoint
        >>> rows = ([3.0, 4.0], [3.0, 4.5], [0.0, 9.0])
        >>> base, tuned, strange = (Checkpoint.from_tensors({"w": torch.tensor([row])}) for row in rows)
        >>> list(lengths_beside_base(plan_merge([tuned, strange], "ties", base=base)).values())
        [0.1, 1.16619...]
    """
    import torch

    matrices = [target for target in plan.targets if target.has_base and len(target.spec.shape) > 1]
    sums: dict[str, list[float]] = {}
    for target in matrices[:: max(1, math.ceil(len(matrices) / _TENSORS))]:
        count = min(target.spec.numel, _ELEMENTS)
        (base, base_name), *models = target.sources.sources
        origin, values = torch.empty(count, dtype=torch.float64), torch.empty(count, dtype=torch.float64)
        base.reader(base_name)(0, origin)
        for number, (checkpoint, name) in enumerate(models):
            checkpoint.reader(name)(0, values)
            label = checkpoint.source if checkpoint.source != "memory" else f"model {number + 1}"
            held = sums.setdefault(label, [0.0, 0.0])
            held[0] += (values - origin).square().sum().item()
            held[1] += origin.square().sum().item()
    return {label: math.sqrt(d / w) if w > 0 else math.inf for label, (d, w) in sums.items()}
