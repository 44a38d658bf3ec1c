r"""What became of every task vector in a merge: kept, dropped, or overruled.

Whatever the method, a merge with a base $\theta_0$ adds $m = \theta - \theta_0$ to it, and each model $i$ brought a
task vector $d_i = \theta_i - \theta_0$. Both are read off the models and the result as it is stored: the account is the
same for all methods, and what rounding loses is lost. An entry with $d_i \neq 0$

| | where |
| --- | --- |
| survived | $\mathrm{sgn}\, m = \mathrm{sgn}\, d_i$: the result moved the way the model did, whoever moved it |
| is in conflict | $\mathrm{sgn}\, m = -\mathrm{sgn}\, d_i$: it moved the other way |
| was dropped | $m = 0$: it did not move |

The shares of the three add up to 1: of the entries themselves, of $\sum \lvert d_i\rvert$ (L1), and of $\sum d_i^2$
(L2). They say which way the result moved, not how far; and an entry that a method trimmed from one model counts as
survived where another model carried it the same way.

Beside them, how large $d_i$ is against the base: about 1 or more where the base is not what the model was tuned from,
or the model was trained far away from it. For methods that merge neurons (`neuromerging`) also which share of
$\sum d_i^2$ is parallel to the base's neurons; the rest is orthogonal.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from merganser.merging._execute import Engine, Progress
from merganser.merging._layout import exchanged
from merganser.merging._plan import MergePlan, Target
from merganser.merging._planning import plan_blueprint
from merganser.merging._write import default_workers
from merganser.weights import DTYPES, Buffers, Checkpoint, Execution

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Shares:
    """Of a task vector: parts of 1; all 0 where there is none."""

    survived: float
    conflict: float
    dropped: float


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one model's task vector, in a tensor, a layer, or everywhere.

    Args:
        entries: Shares of the entries that are not zero.
        l1: Shares of the sum of magnitudes.
        l2: Shares of the sum of squares.
        size: Length of the task vector over that of the base; None where the base is zero.
        parallel: Share of the sum of squares that is parallel to the base's neurons, over tensors that are merged
            neuron by neuron; None where there are none.
    """

    entries: Shares
    l1: Shares
    l2: Shares
    size: float | None
    parallel: float | None


Fates = Mapping[str, Fate]
"""What became of the task vectors of the models, by the models' names."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """An account of a merge.

    Args:
        total: Everywhere.
        layers: By layer, in flat order, as `Checkpoint.layers` names them.
        tensors: By tensor, in flat order.
    """

    total: Fates
    layers: Mapping[str, Fates]
    tensors: Mapping[str, Fates]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def explain(
    plan: MergePlan,
    execution: Execution | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> Explanation:
    """Carry out a merge without keeping the result, and say what became of every task vector.

    Memory does not grow with the model. Tensors without a base, or merged by copying, are left out.

    Args:
        plan: The merge.
        execution: How; by default with one worker for each processor.
        progress: Called now and then with how far it is.

    Raises:
        ValueError: If no tensor is merged with a base.
        CheckpointError: As the merge itself.

    Examples:
        >>> import torch
        >>> from merganser.merging import plan_merge
        >>> base, one, other = (
        ...     Checkpoint.from_tensors({"w": torch.tensor(numbers)})
        ...     for numbers in ([0.0, 0.0, 0.0], [3.0, 1.0, 2.0], [1.0, -3.0, -2.0])
        ... )
        >>> fates = explain(plan_merge([one, other], "ties", base=base, parameters={"density": 1.0})).total
        >>> list(fates.values())[0].entries
        Shares(survived=0.3333333333333333, conflict=0.3333333333333333, dropped=0.3333333333333333)
    """
    carried_out, targets = _of_whole_tensors(plan)
    if not targets:
        raise ValueError(
            "Expected a merge with a base, from which task vectors are measured, but no tensor of this one has any. "
            "Name the model that the others were tuned from as `base`."
        )
    accounts = _Accounts(targets, _labels(plan.inputs))
    measured = {target.spec.name for target in targets}
    made = [target for target in carried_out.targets if target.spec.name in measured]
    Engine(carried_out, execution or Execution(default_workers()), progress).run(made, accounts)
    names = {target.spec.name: np.empty(0, np.float32) for target in targets}
    layers = Checkpoint.from_tensors(names).layers
    ordered = [name for layer in layers for name in layer.tensors]
    return Explanation(
        total=accounts.fates(ordered),
        layers={layer.name: accounts.fates(layer.tensors) for layer in layers},
        tensors={name: accounts.fates([name]) for name in ordered},
    )


def _of_whole_tensors(plan: MergePlan) -> tuple[MergePlan, list[Target]]:
    """What to carry out, and the targets that say what each tensor is made of.

    In core space the two differ: there the models are not read. An adapter is explained as the model that it makes.
    """
    whole = made = plan
    if plan.cores is not None and plan.blueprint is not None:
        in_full = dataclasses.replace(plan.blueprint, space="full", rank=None, as_adapter=False)
        whole = plan_blueprint(in_full, plan.inputs)
        if plan.is_adapter:
            made = plan_blueprint(dataclasses.replace(plan.blueprint, as_adapter=False), plan.inputs)
    return made, [target for target in whole.targets if target.is_merged and target.has_base]


class _Accounts:
    """Compares what a merge writes with what it was made of, block by block."""

    def __init__(self, targets: Iterable[Target], labels: Mapping[int, str]) -> None:
        self._targets = {target.spec.name: target for target in targets}
        self._labels = labels
        self._buffers = Buffers()
        self._sums: dict[str, list[tuple[str, tuple[float, ...]]]] = defaultdict(list)

    def write_at(self, name: str, offset: int, chunk: memoryview) -> None:
        """Compare the elements that are written here; keeps their sums only."""
        import torch

        target = self._targets[name]
        stored = torch.frombuffer(chunk, dtype=getattr(torch, DTYPES[target.spec.dtype].library))
        begin = offset // target.spec.itemsize
        whole = Execution(chunk=len(stored))
        [block] = target.sources.blocks(whole, self._buffers, begin, begin + len(stored))
        rows, width = block.values, target.sources.columns if _splits(target) else None
        if target.transposed and width is not None:
            rows, width = exchanged(rows, target.spec.shape), target.shape[-1]
            [stored] = exchanged(stored[None], target.spec.shape)
        base = rows[0].double()
        merged = stored.double() - base
        for (checkpoint, _), values in zip(target.sources.sources[1:], rows[1:], strict=True):
            sums = _compare(values.double() - base, merged, base, width)
            self._sums[name].append((self._labels[id(checkpoint)], sums))

    def fates(self, names: Iterable[str]) -> dict[str, Fate]:
        """What became of the task vectors in these tensors together; in whichever order they were written."""
        by_model: dict[str, list[tuple[float, ...]]] = {}
        for name in names:
            for label, sums in self._sums[name]:
                by_model.setdefault(label, []).append(sums)
        return {
            label: _fate([math.fsum(column) for column in zip(*by_model[label], strict=True)])
            for label in self._labels.values()
            if label in by_model
        }


def _labels(inputs: Iterable[Checkpoint]) -> dict[int, str]:
    """A name for each model; where several have the same, numbers tell them apart."""
    labels: dict[int, str] = {}
    for checkpoint in inputs:
        taken = sum(label.partition(" #")[0] == checkpoint.source for label in labels.values())
        labels.setdefault(id(checkpoint), f"{checkpoint.source} #{taken + 1}" if taken else checkpoint.source)
    return labels


def _splits(target: Target) -> bool:
    """Whether a tensor is merged neuron by neuron."""
    return target.method is not None and target.method.neurons and len(target.spec.shape) > 1


def _compare(
    delta: Float[Tensor, " elements"],
    merged: Float[Tensor, " elements"],
    base: Float[Tensor, " elements"],
    width: int | None,
) -> tuple[float, ...]:
    """Sums over some elements, for `_fate`."""
    agreement = delta.sign().mul_(merged.sign())
    survived, conflict = agreement.clamp(min=0), agreement.neg().clamp_(min=0)
    sums: list[float] = []
    for weight in (delta.sign().abs_(), delta.abs(), delta.square()):
        sums += [weight.dot(survived).item(), weight.dot(conflict).item(), weight.sum().item()]
    split = 0.0 if width is None else sums[-1]
    parallel = 0.0 if width is None else _parallel(delta.view(-1, width), base.view(-1, width))
    return (*sums, base.dot(base).item(), parallel, split)


def _parallel(delta: Float[Tensor, "rows columns"], base: Float[Tensor, "rows columns"]) -> float:
    """Sum of squares of what is parallel to the base, row by row."""
    along, length = (delta * base).sum(dim=1), base.square().sum(dim=1)
    return (along.square() / length.where(length > 0, 1.0)).sum().item()


def _fate(sums: list[float]) -> Fate:
    *thirds, base, parallel, split = sums
    shares = [_shares(*thirds[i : i + 3]) for i in (0, 3, 6)]
    return Fate(
        *shares,
        size=math.sqrt(thirds[8] / base) if base > 0 else None,
        parallel=parallel / split if split > 0 else None,
    )


def _shares(survived: float, conflict: float, whole: float) -> Shares:
    if whole == 0:
        return Shares(0.0, 0.0, 0.0)
    return Shares(survived / whole, conflict / whole, max(0.0, whole - survived - conflict) / whole)
