"""From settings to the parts of a run: tasks, seeds, the space they span, a live model and a search."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Float

from merganser._errors import ConfigError
from merganser.evaluation import (
    Mixture,
    SplitRule,
    Splits,
    Task,
    check_disjoint,
    join_splits,
    open_task,
    sample_weights,
)
from merganser.evolution import (
    FULL_COVARIANCE_LIMIT,
    CmaEs,
    DenseGenome,
    MixedCmaEs,
    Nsga2,
    Objectives,
    PathSpace,
    RecipeGenome,
    RecipeSpace,
    Search,
    Space,
)
from merganser.merging import (
    Blueprint,
    Combination,
    Engine,
    LayerPath,
    MergePlan,
    bind,
    checkpoint_of,
    default_workers,
    merged_config,
    method_named,
    plan_blueprint,
    plan_combination,
    plan_path,
)
from merganser.models import LanguageModel, LiveModel, Parents, PathModel, threads_for
from merganser.run._experts import Adapted, LivingExperts, open_experts, unchanged
from merganser.run._living import is_spoken, living_model, open_network
from merganser.run._objectives import objectives_of
from merganser.run._output import check_same_rows, written_as
from merganser.run._parents import Parent, make_parents, open_parents
from merganser.run._path_genome import path_search, path_space
from merganser.run._settings import EvolveSettings, TaskSettings
from merganser.run._spaces import make_search, make_space
from merganser.run._subsets import Subsets, make_subsets
from merganser.run._watched import WatchedTask
from merganser.run._weights import SplitWeights
from merganser.weights import Checkpoint, Execution, check_aligned, flat_read

if TYPE_CHECKING:
    from torch import nn

Living: TypeAlias = LiveModel | LanguageModel | PathModel | LivingExperts
"""What becomes one candidate after the other."""

_SMALL = 1 << 20
"""Parameters up to which starting threads to merge costs more than they save."""

_THINKING = "think:"
"""What references to tasks of thought machines begin with."""


@dataclass(frozen=True)
class Plan:
    """Everything a run needs, ready to go.

    Attributes:
        settings: What was asked for.
        splits: The data.
        weights: Weight of each search sample.
        parents: The models it starts from.
        space: The space their descendants live in.
        make_model: Builds the live model that children are written into.
        search: The search, before its first child.
        base: The model that the parents were tuned from, if the genome names one.
        watched: Tasks that are scored at the end and never selected on.
        baselines: Merges by rule to compare with, by name.
        subsets: The search samples that children are scored on, where these are a few at a time.
        is_spoken: Whether the models are language models, which stay on disk and in one resident module.
        split_weights: What samples count in means over a split.
        adapted: Where the models are experts: their base.
    """

    settings: EvolveSettings
    splits: Splits
    weights: Float[np.ndarray, " samples"]
    parents: tuple[Parent, ...]
    space: Space | RecipeSpace | PathSpace
    make_model: Callable[[], Living]
    search: Search
    base: Parent | None = None
    watched: tuple[WatchedTask, ...] = ()
    baselines: tuple[tuple[str, RecipeGenome], ...] = ()
    subsets: Subsets | None = None
    is_spoken: bool = False
    split_weights: SplitWeights = field(default_factory=SplitWeights)
    adapted: Adapted | None = None

    @cached_property
    def model(self) -> Living:
        """The live model; built when it is first asked for, so that a process that scores nothing has none."""
        return self.make_model()

    @cached_property
    def _merged(self) -> LanguageModel:
        """Beside a model that follows paths: one that takes merges by rule, for baselines."""
        return LanguageModel.of(
            self.parents[0].checkpoint, dtype=self.settings.dtype, device=self.settings.device
        )

    @cached_property
    def objectives(self) -> Objectives | None:
        """What a run of several tasks, or a search for several things, aims at; None for all others."""
        if isinstance(self.search, Nsga2):
            return self.search.objectives
        return objectives_of(self.splits.search) if isinstance(self.splits.search, Mixture) else None

    @property
    def heeds_margins(self) -> bool:
        """Whether the search orders candidates of equal score by their margins, so that the journal must hold them."""
        return isinstance(self.search, CmaEs | MixedCmaEs) and self.search.tie_breaker

    @property
    def threads(self) -> int:
        """Threads that each of its workers may use."""
        size = self.size if self.adapted is None else self.adapted.base.layout.size
        return max(threads_for(size) // self.settings.workers, 1)

    @property
    def size(self) -> int:
        """Number of parameters of each model; of experts, of scales."""
        return self.parents[0].checkpoint.layout.size

    @property
    def ingredients(self) -> tuple[Checkpoint, ...]:
        """The models as merges by rule number them: the base first, if there is one."""
        base = () if self.base is None else (self.base.checkpoint,)
        return (*base, *(parent.checkpoint for parent in self.parents))

    @property
    def tasks(self) -> list[Task]:
        """The task's splits, the search split first; then those that are watched."""
        splits = (self.splits.search, self.splits.validation, self.splits.test)
        return [*(task for task in splits if task is not None), *self.watched]

    @property
    def notes(self) -> tuple[str, ...]:
        """What somebody who starts this run should know."""
        notes = list(self.splits.notes)
        if self.splits.dropped:
            notes.append(
                f"{self.splits.dropped:,} training samples are left out: the test set holds them too."
            )
        if self._is_slow:
            notes.append(
                "These models are in half precision, which a processor without instructions for it computes several "
                "times more slowly than single precision: `dtype: float32` in the evolve file scores children in that."
            )
        if isinstance(self.search, CmaEs) and self.search.diagonal:
            notes.append(
                f"CMA-ES keeps a diagonal covariance over {self.search.dimensions:,} dimensions; by itself it keeps "
                f"a full one up to {FULL_COVARIANCE_LIMIT:,}."
            )
        if self.subsets is not None:
            notes.append(self.subsets.note)
        return tuple(notes)

    @property
    def _is_slow(self) -> bool:
        """Whether a processor is to compute in half precision because nobody said otherwise."""
        first = self.parents[0].checkpoint if self.adapted is None else self.adapted.base
        halves = sum(spec.numel for spec in map(first.spec, first) if spec.dtype in ("BF16", "F16"))
        is_default = self.settings.device == "cpu" and self.settings.dtype is None
        return self.is_spoken and is_default and 2 * halves > first.layout.size

    def checkpoint(self, genome: Any) -> Checkpoint:
        """A genome as named tensors; the element types are the first parent's, of a merge by rule its donor's.

        Of experts: its scales.
        """
        if isinstance(genome, DenseGenome):
            is_expert = self.adapted is not None
            vector = np.exp(genome.vector.astype(np.float64)) if is_expert else genome.vector
            return checkpoint_of(vector, self.parents[0].checkpoint)
        plan = self.merge_plan(genome)
        workers = 1 if self.size < _SMALL else default_workers()
        return Engine(plan, Execution(workers)).in_memory(merged_config(plan))

    def merge_plan(self, genome: Combination | RecipeGenome | LayerPath) -> MergePlan:
        """How a genome that is a recipe is made of the models."""
        if isinstance(genome, LayerPath):
            return plan_path(genome, [parent.checkpoint for parent in self.parents])
        if isinstance(genome, RecipeGenome):
            return plan_blueprint(genome.blueprint, self.ingredients)
        return plan_combination(genome, [parent.checkpoint for parent in self.parents])

    def bring_to_life(self, genome: Any) -> LiveModel | LanguageModel | PathModel:
        """A live model that is this candidate: the one place where genomes become models that can be scored.

        A language model is given the plan of the merge, which is carried out in its memory; one that follows paths the
        path; the base of experts its gains; others the flat parameters. It is this candidate until another is brought
        to life.

        Raises:
            CheckpointError: If a model is damaged.
            ValueError: If the method cannot work with what it found.
        """
        model = self.model
        if isinstance(model, LivingExperts):
            assert self.adapted is not None
            return model.become(self.adapted.expert(self.checkpoint(genome)))
        if isinstance(model, PathModel):
            if isinstance(genome, LayerPath):
                model.become(genome)
                return model
            model = self._merged
        if isinstance(model, LanguageModel):
            model.become(self.merge_plan(genome))
        elif isinstance(genome, RecipeGenome) or isinstance(self.space, RecipeSpace):
            model.write(flat_read(self.checkpoint(genome), dtype=np.float32))
        else:
            assert not isinstance(self.space, PathSpace)
            model.write(self.space.flat(genome))
        return model


def make_plan(
    settings: EvolveSettings,
    *,
    parents: Sequence[Parent] | None = None,
    base: Parent | None = None,
    adapted: Adapted | None = None,
    splits: Splits | None = None,
    module: nn.Module | None = None,
) -> Plan:
    """Set everything up.

    Args:
        settings: What is asked for.
        parents: The seeds, where they are at hand already (given in Python, or kept by a run to resume).
        base: The model they were tuned from, where it is at hand already.
        adapted: The base of experts, where these are given as `parents`.
        splits: The data, where they are at hand already.
        module: The network, for parents that are not plain layers.

    Raises:
        ConfigError: If parts of the settings exclude each other.
        TaskError: If the data cannot be used.
        CheckpointError: If a model cannot be read.
        ValueError: If models do not fit together or to the task.
    """
    if splits is None:
        weighted = settings.weighted_tasks
        opened = [_open_task(t, settings) for t in weighted]
        splits = join_splits(opened)
        shares = [t.weight * each.weight for t, each in zip(weighted, opened, strict=True)]
        weights = sample_weights([len(each.search.samples) for each in opened], shares)
        split_weights = SplitWeights.of(splits, shares)
    else:
        check_disjoint(splits)
        weights = np.ones(len(splits.search.samples))
        split_weights = SplitWeights()
    if module is None and settings.genome.network is not None:
        module = open_network(settings.genome.network)
    if parents is None and settings.adapt is not None:
        parents, adapted = open_experts(settings)
    elif parents is None:
        parents = make_parents(settings, splits, module)
    if not parents:
        raise ConfigError("`models` is empty. List checkpoints, or say `scratch` or `specialists`.")
    models = [parent.checkpoint for parent in parents]
    if settings.genome.kind != "path":  # paths say themselves what fits together: depths may differ
        check_aligned(models)
    if not models[0].layout.size:
        raise ValueError(f"{models[0].source} holds no floating tensors, so there is nothing to combine.")
    if base is None and settings.genome.base is not None:
        [base] = open_parents([settings.genome.base])
    if base is None and adapted is not None and _works_from_base(settings):
        base = unchanged(parents, adapted)
    spoken = is_spoken(splits, module)
    if adapted is not None and not spoken:
        raise ConfigError(
            "Experts adapt language models, but the task classifies arrays. Give a task that asks questions, or leave "
            "`adapt` out."
        )
    space = make_space(settings, models, None if base is None else base.checkpoint, large=spoken)
    on = {"device": settings.device, "dtype": settings.dtype}
    if adapted is not None:
        living = partial(adapted.live, **on)
    elif isinstance(space, PathSpace):
        living = partial(_follower, models, space, **on)
    else:
        form = _own_form(settings, space, models, base)
        living = partial(living_model, models[0], splits, module, merge=form, **on)
    search = make_search(settings, space, splits.search, weights, models[0])
    _check_next(settings, models, weights)
    watched = tuple(
        WatchedTask(_held_out(_open_task(TaskSettings(reference), settings))) for reference in settings.watch
    )
    baselines = _baselines(settings, parents, base)
    subsets = make_subsets(settings, splits.search, search, len(space.seeds))
    parts = (
        settings,
        splits,
        weights,
        tuple(parents),
        space,
        living,
        search,
        base,
        watched,
        baselines,
        subsets,
    )
    plan = Plan(*parts, is_spoken=spoken, split_weights=split_weights, adapted=adapted)
    if not settings.uses_workers:
        _ = plan.model  # what does not fit the task is said now
    if isinstance(space, RecipeSpace):
        plan.merge_plan(space.decode(space.start))  # what does not fit together is said now
    for _, genome in baselines:
        plan.merge_plan(genome)
    return plan


def _works_from_base(settings: EvolveSettings) -> bool:
    """Whether a merge of experts is one of what they add to a base."""
    genome = settings.genome
    if genome.is_recipe and genome.method is not None:
        return method_named(genome.method).rule.base != "refused"
    return bool(settings.baselines)


def _check_next(
    settings: EvolveSettings, models: Sequence[Checkpoint], weights: Float[np.ndarray, " samples"]
) -> None:
    """What a second search through blocks would refuse of these models is said before the first one begins."""
    then = settings.then
    if then is not None and then.genome.kind == "path":
        following = dataclasses.replace(settings, genome=then.genome, search=then.search)
        path_search(following, path_space(following, models), weights)


def _follower(models: Sequence[Checkpoint], space: PathSpace, *, device: str, dtype: str | None) -> PathModel:
    """The model that follows path after path."""
    return PathModel(Parents.of(models, device=device, dtype=dtype), space.seeds[0])


def _own_form(
    settings: EvolveSettings,
    space: Space | RecipeSpace,
    models: Sequence[Checkpoint],
    base: Parent | None,
) -> MergePlan | None:
    """One of the merges that are searched, if the settings name their donor or their tokens; in the donor's types."""
    output = settings.output
    if not isinstance(space, RecipeSpace) or (output.donor is None and output.tokenizer is None):
        return None
    blueprint = space.decode(space.start).blueprint
    inputs = (*([] if base is None else [base.checkpoint]), *models)
    plan = plan_blueprint(dataclasses.replace(blueprint, dtype=None), inputs)
    check_same_rows(plan, models[0])
    return plan


def _held_out(splits: Splits) -> Task:
    """The split of a task that is farthest from what models may have been tuned on."""
    return splits.test or splits.validation or splits.search


def _baselines(
    settings: EvolveSettings, parents: Sequence[Parent], base: Parent | None
) -> tuple[tuple[str, RecipeGenome], ...]:
    """Merges of the parents by rule, with the methods' defaults."""
    digests = [parent.checkpoint.digest for parent in parents]
    models = tuple(digests) if base is None else (base.checkpoint.digest, *digests)
    found = []
    for name in settings.baselines:
        method = method_named(name)
        if base is None and method.rule.base == "required":
            raise ConfigError(
                f"The baseline `{name}` works from a base. Name it as `genome: {{base: …}}`, or leave the baseline out."
            )
        bind(name, method, len(parents), {})
        numbers = range(len(models) - len(digests), len(models))
        takes_base = base is not None and method.rule.base != "refused"
        blueprint = Blueprint.plain(
            name,
            numbers,
            base=0 if takes_base else None,
            seed=settings.seed,
            **written_as(settings),
        )
        found.append((name, RecipeGenome(models, blueprint)))
    return tuple(found)


def _open_task(task: TaskSettings, settings: EvolveSettings) -> Splits:
    if str(task.task).startswith(_THINKING):
        from merganser.thinking.training import open_thinking_splits

        return open_thinking_splits(str(task.task).removeprefix(_THINKING))
    rule = SplitRule(
        settings.splits.preset, settings.splits.validation, settings.splits.test, settings.splits.seed
    )
    return open_task(task.task, rule, lm_eval=task.lm_eval)
