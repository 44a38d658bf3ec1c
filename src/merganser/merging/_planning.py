"""From a blueprint to a plan: everything is checked and laid out before a byte of data is read.

1. *Method*: name, base and parameter names are checked against the method's class.
2. *Tensors*: whole models are aligned by name; slices by block, so that block 3 of the result may be made of block 7 of
   one model and block 12 of another. What stands before the blocks is made of the first slice's sources, what stands
   after them of the last one's. A name that one model ties and another holds apart is held apart in the result.
3. *Parameters* are settled for every tensor, by its names and its depth within the slice: 0 before the blocks, 1
   after them (mergekit: 0 there too, so its heads take the first value of a gradient).

Planning reads headers only. Every target has one tensor in each source, of one shape; element types may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from merganser._errors import CheckpointError
from merganser.merging._adapters import choose_space, in_core_space, is_same, shared_base
from merganser.merging._blueprint import Blueprint, Dialect, Formulas
from merganser.merging._dialect import method_named
from merganser.merging._measured import check_parameters, check_statistics
from merganser.merging._plan import MergePlan
from merganser.merging._planner import Planner, check_base
from merganser.merging._statistics import Statistics
from merganser.merging.methods import MergeMethod, bind, fields_of
from merganser.merging.vocabulary import VocabularyRules, plan_vocabulary
from merganser.merging.vocabulary import chat_template as resolved_template
from merganser.weights import Checkpoint


def plan_merge(
    models: Sequence[Checkpoint],
    method: str = "linear",
    *,
    base: Checkpoint | None = None,
    donor: Checkpoint | None = None,
    dtype: str | None = None,
    seed: int = 0,
    parameters: Mapping[str, Any] | None = None,
    vocabulary: VocabularyRules | None = None,
    chat_template: str | None = None,
    formulas: Formulas = "papers",
    statistics: Sequence[Statistics] = (),
    space: str = "auto",
    rank: int | None = None,
    as_adapter: bool = False,
) -> MergePlan:
    """Check that models, method and parameters fit, and say what will be done.

    Args:
        models: The models, without the base.
        method: A name in `METHODS`.
        base: The base that the models were tuned from.
        donor: Whose configuration, names and element types the result has; the base, or else the first model.
        dtype: Element type of all merged tensors, as torch names it; by default that of the donor's tensor.
        seed: Key of random numbers.
        parameters: The method's parameters.
        vocabulary: Whose tokens the result has; models are numbered with the base first.
        chat_template: How conversations are laid out, as `chat_template` takes it.
        formulas: Whose formulas to follow; with mergekit's go its names of methods and parameters.
        statistics: What was measured on the models, one for each, in their order, if the method uses it.
        space: Where models that are adapters of one base are merged: ``"full"`` as whole tensors, ``"core"`` in the
            directions that the adapters use, ``"auto"`` there if the method gives the same there.
        rank: Most directions that the merged change of a tensor keeps; None for all. Only in core space.
        as_adapter: Whether the result is an adapter instead of a whole model. Only in core space.

    Raises:
        ValueError: If the method is unknown or does not take these models, parameters or statistics, or core space is
            asked for and they cannot be merged there.
        CheckpointError: If the models do not fit together.
    """
    dialect: Dialect = "mergekit" if formulas == "mergekit" else "merganser"
    rule_class = method_named(method, dialect)
    if vocabulary is None:  # which numbers models with the base that was given
        base = _own_base(rule_class, models, base)
    check_base(method, rule_class, has_base=base is not None)
    bound = bind(method, rule_class, len(models), parameters or {})
    chosen = choose_space(
        space,
        bound,
        method,
        models,
        base=base,
        same_tokens=vocabulary is None,
        needed=as_adapter or rank is not None,
    )
    inputs = tuple(models) if base is None else (base, *models)
    blueprint = Blueprint.plain(
        method,
        range(len(inputs) - len(models), len(inputs)),
        {p.name: getattr(bound, field) for field, p in fields_of(rule_class)},
        base=None if base is None else 0,
        donor=next((i for i, checkpoint in enumerate(inputs) if checkpoint is donor), 0),
        dtype=dtype,
        seed=seed,
        dialect=dialect,
        formulas=formulas,
        vocabulary=vocabulary,
        chat_template=chat_template,
        space=chosen,
        rank=rank,
        as_adapter=as_adapter,
    )
    if len(statistics) not in (0, len(models)):
        raise ValueError(
            f"Expected statistics of every model, in their order, but for {len(models)} models there are "
            f"{len(statistics)}."
        )
    of_base = [None] * (len(inputs) - len(models))
    return plan_blueprint(blueprint, inputs, [*of_base, *statistics] if statistics else ())


def _own_base(
    rule_class: type[MergeMethod], models: Sequence[Checkpoint], base: Checkpoint | None
) -> Checkpoint | None:
    """The base to merge with, of adapters: their own where the method needs one, none where it takes none."""
    shared = shared_base(models)
    if shared is None:
        return base
    if base is None:
        return shared if rule_class.rule.base == "required" else None
    return None if rule_class.rule.base == "refused" and is_same(base, shared) else base


def plan_blueprint(
    blueprint: Blueprint, models: Sequence[Checkpoint], statistics: Sequence[Statistics | None] = ()
) -> MergePlan:
    """Check that models and blueprint fit, and say what will be done.

    Args:
        blueprint: The merge.
        models: The models it numbers.
        statistics: What was measured on each of them, if the method uses it.

    Raises:
        ValueError: If method, parameters, slices and statistics do not fit together or the models.
        CheckpointError: If the models do not fit together.
    """
    for number in blueprint.models:
        _refuse_quantised(models[number])
    vocabulary, aligned = None, models
    if blueprint.vocabulary is not None:
        vocabulary = plan_vocabulary(models, blueprint.vocabulary, base=blueprint.base)
        aligned = [vocabulary.aligned(number) for number in range(len(models))]
    template = None if blueprint.chat_template is None else resolved_template(models, blueprint.chat_template)
    named = method_named(blueprint.method, blueprint.dialect)
    merged = {s.model: models[s.model] for slice_ in blueprint.slices for s in slice_.sources}
    check_statistics(blueprint.method, named.rule.statistics, merged, statistics)
    planner = Planner(blueprint, aligned, statistics)
    targets = tuple(planner.targets())
    base = None if blueprint.base is None else models[blueprint.base]
    donor = aligned[blueprint.donor]
    plan = MergePlan(
        blueprint.method,
        tuple(models),
        donor,
        targets,
        planner.config(),
        blueprint=blueprint,
        base=base,
        vocabulary=vocabulary,
        chat_template=template,
        seed=blueprint.seed,
        statistics=tuple(statistics),
    )
    check_parameters(blueprint.method, plan.methods, statistics)
    return in_core_space(plan) if blueprint.space == "core" else plan


def _refuse_quantised(checkpoint: Checkpoint) -> None:
    if checkpoint.config.get("quantization_config"):
        raise CheckpointError(
            f"{checkpoint.source} is quantised (its configuration has a `quantization_config`), and packed numbers "
            "cannot be added up. Use the model it was quantised from, or dequantise it first."
        )
