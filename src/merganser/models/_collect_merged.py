r"""Gram matrices of inputs that come through what is merged already, as RegMean++ needs them.

Blocks are walked in order, all models at once. For block $l$

1. each model $t$ runs its own data through what is merged of blocks before $l$, and its own block $l$ on what comes
   out: the inputs of the layers in there are measured;
2. the block is merged by these matrices (RegMean; what has none becomes the mean), and takes the place of the models'
   own.

What runs before the first block is measured and merged first of all, what runs after the last one at the end. So the
modules end as the merged model; and a merge of the checkpoints by what was measured is that model again, streamed.

Within a block, inputs come through the model's own layers: blocks are merged whole. What a merged block gives is kept
for each batch, so that every block runs twice for each model: once its own, once merged. Before it only what prepares
its other arguments (masks, positions) runs again.

References:
    Nguyen et al., *RegMean++: Enhancing Effectiveness and Generalization of Regression Mean for Model Merging*,
    TMLR 2026, https://arxiv.org/abs/2508.03121
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jaxtyping import Float

from merganser.merging import Statistics, regression_mean
from merganser.models._batch import Batch, Call
from merganser.models._grams import GramSums, tied_checkpoint
from merganser.models._hooks import LinearLayer, evaluating, watching
from merganser.models._names import Names, named_layers
from merganser.weights import Checkpoint, fingerprint

if TYPE_CHECKING:
    from torch import Tensor, nn


class _ReachedError(Exception):
    """A module was stopped on purpose, for what follows is not needed."""


@dataclass
class _Walker:
    """One model on its way through the blocks.

    Args:
        module: The model, whose weights are replaced by merged ones as it goes.
        blocks: Its blocks, in the order in which they run.
        layers: Its linear layers, by their names in the file.
        calls: Its data.
        outputs: What the last merged block gave for each call.
        grams: What was measured so far.
    """

    module: nn.Module
    blocks: list[nn.Module]
    layers: Mapping[str, LinearLayer]
    calls: list[Call]
    outputs: list[Any] = field(default_factory=list)
    grams: dict[str, Float[Tensor, "inputs inputs"]] = field(default_factory=dict)

    def measure(self, wanted: Iterable[str], done: int, stop: nn.Module | None) -> None:
        """Measure layers while the module runs on all its data.

        Args:
            wanted: The layers, by their names in the file.
            done: How many blocks are merged: the last of them gives what it gave before.
            stop: The module before which to stop, or None to run to the end.
        """
        sums = GramSums()
        layers = {name: self.layers[name] for name in wanted}
        with watching(layers, sums.add), ExitStack() as stack:
            if stop is not None:
                stack.enter_context(_stopping_before(stop))
            for number, call in enumerate(self.calls):
                sums.mask = call.mask
                self._run(call, number, done)
                sums.forget_inputs()
        self.grams |= sums.means()

    def advance(self, number: int) -> None:
        """Run a block that is merged now, and keep what it gives."""
        given: list[Any] = []
        handle = self.blocks[number].register_forward_hook(lambda _block, _args, output: _keep(output, given))
        try:
            for i, call in enumerate(self.calls):
                self._run(call, i, number)
        finally:
            handle.remove()
        self.outputs = given

    def _run(self, call: Call, number: int, done: int) -> None:
        with _replaying(self.blocks[:done], self.outputs[number] if done else None):
            try:
                call(self.module)
            except _ReachedError:
                return


def collect_merged(
    modules: Sequence[nn.Module],
    batches: Sequence[Iterable[Batch]],
    *,
    checkpoints: Sequence[Checkpoint] | None = None,
    blocks: Sequence[str] | None = None,
    names: Names | None = None,
    alpha: float = 0.9,
    ridge: float = 1e-6,
) -> list[Statistics]:
    """Measure models on inputs that come through their merge, block by block.

    Args:
        modules: The models, of one architecture. **They become the merged model**; load them again to use them.
        batches: Each model's own data, as `collect` takes them; kept in memory, with one block's outputs for each.
        checkpoints: The files that the modules were loaded from; by default the modules themselves.
        blocks: Names of the blocks, in the order in which they run; by default the children of the longest
            `Sequential` or `ModuleList`.
        names: What parameters are called in the files, by their names in the modules.
        alpha: As `regmean_plus_plus` has it; the merge must have the same.
        ridge: As well.

    Returns:
        Statistics of each model, for `regmean_plus_plus`.

    Raises:
        ValueError: If there are no data for every model, the modules are no stack of blocks, or differ in their layers.
    """
    import torch

    if len(batches) != len(modules) or len(modules) < 1:
        raise ValueError(
            f"Every model needs data of its own, but for {len(modules)} models there are {len(batches)}."
        )
    held = checkpoints or [Checkpoint.from_module(module) for module in modules]
    looks = [fingerprint(each) for each in held]
    walkers = [_walker(*each, blocks, names) for each in zip(modules, held, batches, strict=True)]
    if len({tuple(sorted(walker.layers)) for walker in walkers}) > 1:
        raise ValueError("The models differ in their linear layers. They must have one architecture.")

    with torch.no_grad(), ExitStack() as stack:
        for walker in walkers:
            stack.enter_context(evaluating(walker.module))
        _walk(walkers, alpha=alpha, ridge=ridge)
    prefix = {"models": looks, "parameters": {"alpha": alpha, "ridge": ridge}}
    return [
        Statistics(
            "merged_gram",
            look,
            tied_checkpoint(walker.grams),
            sum(call.samples for call in walker.calls),
            sum(call.tokens for call in walker.calls),
            frozenset(name for name, layer in walker.layers.items() if layer.inputs_first),
            prefix,
        )
        for look, walker in zip(looks, walkers, strict=True)
    ]


def _walk(walkers: Sequence[_Walker], *, alpha: float, ridge: float) -> None:
    """Measure and merge: what is before the blocks, the blocks, what is after them."""
    count = len(walkers[0].blocks)
    inside = [_inside(walkers[0], block) for block in walkers[0].blocks]
    outside = set(walkers[0].layers).difference(*inside)
    for walker in walkers:
        walker.measure(outside, 0, walker.blocks[0])
    after = outside - set(walkers[0].grams)
    _merge_into(walkers, [_outside_blocks(each, after) for each in walkers], alpha=alpha, ridge=ridge)
    for number, wanted in enumerate(inside):
        for walker in walkers:
            walker.measure(wanted, number, walker.blocks[number + 1] if number + 1 < count else None)
        _merge_into(walkers, [_floating(each.blocks[number]) for each in walkers], alpha=alpha, ridge=ridge)
        for walker in walkers:
            walker.advance(number)
    for walker in walkers:
        walker.measure(after, count, None)
    _merge_into(walkers, [_outside_blocks(each, ()) for each in walkers], alpha=alpha, ridge=ridge)


def _walker(
    module: nn.Module,
    checkpoint: Checkpoint,
    batches: Iterable[Batch],
    blocks: Sequence[str] | None,
    names: Names | None,
) -> _Walker:
    calls = [Call.of(batch, module) for batch in batches]
    if not calls:
        raise ValueError("There are no data for one of the models: its batches are empty.")
    found = [module.get_submodule(name) for name in blocks] if blocks else _blocks_of(module)
    return _Walker(module, found, named_layers(module, checkpoint, names), calls)


def _blocks_of(module: nn.Module) -> list[nn.Module]:
    """The children of the longest stack in a module.

    Raises:
        ValueError: If there is none, or two of them are equally long.
    """
    from torch import nn

    stacks = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.Sequential | nn.ModuleList) and len(part)
    }
    longest = max(map(len, stacks.values()), default=0)
    found = [name for name, part in stacks.items() if len(part) == longest]
    if len(found) != 1:
        listed = ", ".join(repr(name) for name in found) or "none"
        raise ValueError(
            f"Expected one stack of blocks in {type(module).__name__}, found {listed}. Name the blocks in the order in "
            "which they run (`blocks`)."
        )
    return list(stacks[found[0]])


def _inside(walker: _Walker, block: nn.Module) -> set[str]:
    parts = set(map(id, block.modules()))
    return {name for name, layer in walker.layers.items() if id(layer.module) in parts}


def _merge_into(
    walkers: Sequence[_Walker], tensors: Sequence[Iterable[Tensor]], *, alpha: float, ridge: float
) -> None:
    """Merge tensors, by Gram matrices where they were measured, and put the result into all models."""
    import torch

    names = {
        walkers[0].layers[name].weight.data_ptr(): name
        for name in walkers[0].grams
        if all(name in walker.grams for walker in walkers)
    }
    for group in zip(*tensors, strict=True):
        values = torch.stack([tensor.detach().double() for tensor in group])
        merged, name = values.mean(dim=0), names.get(group[0].data_ptr())
        if name is not None:
            first = walkers[0].layers[name].inputs_first
            weights = values.mT if first else values.flatten(2)
            grams = [walker.grams[name] for walker in walkers]
            merged = regression_mean(weights, grams.__getitem__, alpha=alpha, ridge=ridge)
            merged = merged.T if first else merged.reshape(values.shape[1:])
        for tensor in group:
            tensor.copy_(merged)


def _floating(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers with floating numbers; tied ones once."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            yield tensor


def _outside_blocks(walker: _Walker, later: Iterable[str]) -> list[Tensor]:
    """What stands in no block, but for the weights of layers that are to be merged later."""
    left_out = {id(tensor) for block in walker.blocks for tensor in _floating(block)}
    left_out |= {id(walker.layers[name].weight) for name in later}
    return [tensor for tensor in _floating(walker.module) if id(tensor) not in left_out]


@contextmanager
def _replaying(blocks: Sequence[nn.Module], output: Any) -> Iterator[None]:
    """Have blocks give what the last of them gave before, whatever they are called with."""
    before = [block.__dict__.get("forward") for block in blocks]
    try:
        for block in blocks:
            block.forward = lambda *_args, **_kwargs: output
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            del block.__dict__["forward"]
            if forward is not None:
                block.forward = forward


def _keep(output: Any, given: list[Any]) -> None:
    given.append(output)
    raise _ReachedError


@contextmanager
def _stopping_before(module: nn.Module) -> Iterator[None]:
    """Stop whatever runs when it comes to a module."""

    def stop(_module: Any, _args: Any) -> None:
        raise _ReachedError

    handle = module.register_forward_pre_hook(stop)
    try:
        yield
    finally:
        handle.remove()
