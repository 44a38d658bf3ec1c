"""Models that are adapters on one base: whether they are merged in core space, and the plan of doing so.

A plan is made for whole tensors first, as any other. Then every tensor goes the way that fits what the adapters do:

| the adapters | whole model | adapter |
| --- | --- | --- |
| leave it as it is | the base's | left out |
| add products of factors, some of them perhaps nothing | the base's plus the merged product | the merged factors |
| replace it (`modules_to_save`), or train its bias | merged whole | merged whole |
| set the norms of its rows (DoRA) | merged whole | refused |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

from merganser._errors import CheckpointError
from merganser.merging._blueprint import Space
from merganser.merging._cores import CoreLayer, MergedCores, Product
from merganser.merging._merged_adapter import PREFIX, AdapterTensors, adapter_config, module_of
from merganser.merging._plan import MergePlan, Target
from merganser.merging.methods import MergeMethod, Passthrough
from merganser.weights import AdaptedSource, Aligned, Checkpoint, TensorSpec, UpdatedSource

WantedSpace = Literal["auto", "full", "core"]
"""Where adapters are to be merged: `auto` in core space where that changes nothing but rounding."""


def is_same(first: Checkpoint, second: Checkpoint) -> bool:
    """Whether two checkpoints are one: the same object, or the same files."""
    return first is second or (bool(first.tensors.stamps) and first.source == second.source)


def shared_base(models: Sequence[Checkpoint]) -> Checkpoint | None:
    """The base that all models are adapters of; None if one is no adapter, or they have several."""
    sources = [model.tensors for model in models if isinstance(model.tensors, AdaptedSource)]
    if not sources or len(sources) < len(models):
        return None
    return sources[0].base if all(is_same(sources[0].base, source.base) for source in sources) else None


def choose_space(
    wanted: str,
    method: MergeMethod,
    name: str,
    models: Sequence[Checkpoint],
    *,
    base: Checkpoint | None,
    same_tokens: bool,
    needed: bool,
) -> Space:
    """Where a merge is to be made.

    Args:
        wanted: One of `WantedSpace`.
        method: The method with its parameters.
        name: What it is called.
        models: The models, without the base.
        base: The base.
        same_tokens: Whether all models keep their vocabulary.
        needed: Whether what is asked for can only be made in core space.

    Raises:
        ValueError: If it must be core space and cannot.
    """
    if wanted not in get_args(WantedSpace):
        raise ValueError(f"`space` must be one of {', '.join(get_args(WantedSpace))}, but is {wanted!r}.")
    if wanted == "full" and needed:
        raise ValueError(
            "An adapter, or a change of a chosen rank, is made in core space, but `space` is full."
        )
    if wanted == "full":
        return "full"
    obstacle = _obstacle(models, base, same_tokens=same_tokens) or _unfit(
        method, name, has_base=base is not None
    )
    if obstacle is None and not method.equivariant and wanted == "auto":
        obstacle = (
            f"`{name}` depends on the basis that task vectors are written in. Say `space` core to have it look at the "
            "adapters' common directions instead of single weights; the result is another than that of whole tensors."
        )
    if obstacle is None:
        return "core"
    if wanted == "core" or needed:
        raise ValueError(f"This cannot be merged in core space: {obstacle}")
    return "full"


def _obstacle(models: Sequence[Checkpoint], base: Checkpoint | None, *, same_tokens: bool) -> str | None:
    stranger = next((model for model in models if not isinstance(model.tensors, AdaptedSource)), None)
    if stranger is not None:
        return f"{stranger.source} is no adapter on a base. Give adapters as BASE+ADAPTER, or as they are and a base."
    shared = shared_base(models)
    if shared is None:
        bases = [model.tensors.base.source for model in models if isinstance(model.tensors, AdaptedSource)]
        return f"the adapters are on different bases: {', '.join(dict.fromkeys(bases))}. Merge those of one base."
    if base is not None and not is_same(base, shared):
        return f"the adapters are on {shared.source}, but the base is to be {base.source}. Name the same."
    if not same_tokens:
        return "the vocabulary is to change, which takes whole tensors. Leave `tokenizer` out."
    return None


def _unfit(method: MergeMethod, name: str, *, has_base: bool) -> str | None:
    """Why a method cannot work there at all, whatever it looks at being another basis."""
    starts_at_base = has_base and (
        method.equivariant or (method.rule.space == "deltas" and not method.neurons)
    )
    if starts_at_base or (method.equivariant and method.rule.base == "refused"):
        return None
    return (
        f"`{name}` needs the base's weights, or changes what no adapter does. Name a base, use another method, or "
        "`space` full."
    )


def in_core_space(plan: MergePlan) -> MergePlan:
    """A plan for whole tensors as one in core space.

    Args:
        plan: The plan; its models are adapters of one base.

    Raises:
        ValueError: If the models are no such adapters, the merge has slices, or the result cannot be what is asked for.
    """
    blueprint, base = plan.blueprint, shared_base(plan.models)
    if blueprint is None or base is None or not blueprint.is_whole or plan.vocabulary is not None:
        why = _obstacle(plan.models, plan.base, same_tokens=plan.vocabulary is None)
        raise ValueError(
            f"This cannot be merged in core space: {why or 'it is made of slices, not of whole models.'}"
        )
    found = {target.spec.name: _layer(target, len(plan.models)) for target in plan.targets}
    layers = {name: layer for name, layer in found.items() if layer is not None}
    cores = MergedCores(
        layers, seed=plan.seed, rank=_checked_rank(blueprint.rank, layers), balanced=blueprint.as_adapter
    )
    if blueprint.as_adapter:
        return _adapter_plan(plan, base, cores)
    merged = Checkpoint(
        UpdatedSource(base, {name: partial(cores.factors, name) for name in layers}), source=base.source
    )
    targets = tuple(
        target if _is_whole(target) else _computed(target, merged if target.spec.name in layers else base)
        for target in plan.targets
    )
    return dataclasses.replace(plan, targets=targets, cores=cores)


def _computed(target: Target, source: Checkpoint) -> Target:
    """A target that is one tensor of a checkpoint as it is, looked through for NaN and rounded."""
    sources = Aligned(((source, target.spec.name),))
    return Target(target.spec, sources, None if target.method is None else Passthrough((1.0,)))


def _sources(target: Target) -> list[AdaptedSource]:
    """The models of a target that change its tensor."""
    found = [checkpoint.tensors for checkpoint, _ in target.sources.sources]
    return [each for each in found if isinstance(each, AdaptedSource) and target.spec.name in each.changes]


def _is_whole(target: Target) -> bool:
    """Whether something other than products changes the tensor."""
    return not all(source.product(target.spec.name) for source in _sources(target))


def _layer(target: Target, models: int) -> CoreLayer | None:
    """A tensor that products change; None for others."""
    if not _sources(target) or _is_whole(target) or target.method is None:
        return None
    name, products = target.spec.name, list[Product | None]()
    for checkpoint, _ in target.sources.sources[-models:]:
        assert isinstance(checkpoint.tensors, AdaptedSource)
        placement = checkpoint.tensors.product(name)
        products.append(None if placement is None else Product(checkpoint.tensors.adapter, placement))
    checkpoint, _ = target.sources.sources[-1]
    return CoreLayer(
        checkpoint.spec(name), tuple(products), target.method, target.has_base, target.transposed
    )


def _checked_rank(rank: int | None, layers: dict[str, CoreLayer]) -> int | None:
    most = max((min(layer.sides) for layer in layers.values()), default=0)
    if rank is not None and rank > most:
        raise ValueError(
            f"`rank` is {rank}, but the merged change of no tensor has more than {most}: the adapters' ranks together, "
            "or the tensor's shorter side. Leave it out to keep everything."
        )
    return rank


def _adapter_plan(plan: MergePlan, base: Checkpoint, cores: MergedCores) -> MergePlan:
    """A plan that makes an adapter."""
    blueprint = plan.blueprint
    assert blueprint is not None
    sources = [model.tensors for model in plan.models if isinstance(model.tensors, AdaptedSource)]
    saved = {target.spec.name: target for target in plan.targets if _is_whole(target)}
    modules = {name: _module(target) for name, target in saved.items()}
    dtype = next(target.spec.dtype for target in plan.targets) if blueprint.dtype is not None else None
    tensors = Checkpoint(AdapterTensors(cores, dtype), source=base.source)
    factors = [Target(spec, Aligned(((tensors, key),)), None) for key, spec in tensors.tensors.specs.items()]
    adapted = {module_of(layer) for layer in cores.layers.values()}
    whole = [_renamed(target, modules[name], adapted) for name, target in saved.items()]
    return dataclasses.replace(
        plan,
        targets=(*factors, *whole),
        donor=tensors,
        config=adapter_config(cores, base, [source.adapter for source in sources], modules),
        cores=cores,
        chat_template=None,
    )


def _module(target: Target) -> str:
    """Path of the module of a tensor that is saved whole, as the adapters have it.

    Raises:
        ValueError: If an adapter sets norms of rows there.
    """
    name = target.spec.name
    normed = next((source for source in _sources(target) if source.changes[name].magnitude is not None), None)
    if normed is not None:
        raise ValueError(
            f"{normed.adapter.source} sets the norms of the rows of {name!r} (DoRA), which is no sum of products. Make "
            "a whole model of it instead of an adapter."
        )
    return _sources(target)[0].changes[name].module


def _renamed(target: Target, module: str, adapted: set[str]) -> Target:
    """A tensor that is saved whole, as an adapter calls it."""
    leaf = target.spec.name.rpartition(".")[2]
    inner = ".base_layer" if module in adapted else ""
    spec = target.spec
    return dataclasses.replace(
        target, spec=TensorSpec(f"{PREFIX}{module}{inner}.{leaf}", spec.dtype, spec.shape)
    )


def check_declared(models: Sequence[Checkpoint]) -> None:
    """Make sure that adapters that were given without a base name the same one in their configurations.

    Only the last parts of the names count: the same model may be a folder here and on the hub there.

    Raises:
        CheckpointError: If they differ.
    """
    named: dict[str, Checkpoint] = {}
    for source in (model.tensors for model in models):
        declared = (
            source.adapter.config.get("base_model_name_or_path")
            if isinstance(source, AdaptedSource)
            else None
        )
        if isinstance(source, AdaptedSource) and isinstance(declared, str) and declared:
            named.setdefault(declared.rstrip("/").rpartition("/")[2].lower(), source.adapter)
    if len(named) > 1:
        listed = ", ".join(
            f"{adapter.source} was trained on {adapter.config['base_model_name_or_path']}"
            for adapter in named.values()
        )
        raise CheckpointError(
            f"The adapters name different bases: {listed}. Merge adapters of one base; if these are names of one, give "
            "them as BASE+ADAPTER."
        )
