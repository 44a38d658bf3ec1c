"""From settings to the parts of a run: tasks, seeds, the space they span, a live model and a search."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import importlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from merganser._errors import ConfigError, TaskError
from merganser.evaluation import (
    Classification,
    Samples,
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
    BruteForce,
    CmaEs,
    CombinationSpace,
    DenseGenome,
    DenseSpace,
    DenseVectors,
    LayerWeights,
    MapElites,
    NaturalNiches,
    Niches,
    RandomSearch,
    RecipeGenome,
    RecipeSpace,
    Search,
    Space,
    Variation,
    VectorSpace,
    random_start,
)
from merganser.merging import (
    Blueprint,
    Combination,
    Engine,
    MergePlan,
    bind,
    checkpoint_of,
    default_workers,
    merged_config,
    method_named,
    plan_blueprint,
    plan_combination,
)
from merganser.models import (
    LiveModel,
    Perceptron,
    TorchModel,
    perceptron_size,
    perceptron_tensors,
    train_perceptron,
)
from merganser.run._chromosomes import chromosomes_of, refuse_chromosomes
from merganser.run._recipe_genome import POPULATION, recipe_search, recipe_space, refuse_recipe_keys
from merganser.run._settings import EvolveSettings
from merganser.weights import Checkpoint, Execution, check_aligned, flat_read, open_checkpoint

if TYPE_CHECKING:
    from torch import nn

_SMALL = 1 << 20
"""Parameters up to which starting threads costs more than they save."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A model that a run starts from.

    Attributes:
        name: What people call it.
        checkpoint: Its weights.
    """

    name: str
    checkpoint: Checkpoint


@dataclass(frozen=True)
class WatchedTask:
    """A task that is scored and never selected on: another one as the split `watch`.

    Attributes:
        inner: The task.
    """

    inner: Task

    @property
    def name(self) -> str:
        """The task's own."""
        return self.inner.name

    @property
    def binary(self) -> bool:
        """As the task says."""
        return self.inner.binary

    @property
    def digest(self) -> str:
        """Its own, so that it may be searched on in other runs and even in this one."""
        return hashlib.blake2b(f"watch {self.inner.digest}".encode(), digest_size=16).hexdigest()

    @property
    def samples(self) -> Samples:
        """The task's, under the name of this split."""
        return dataclasses.replace(self.inner.samples, split="watch")

    def score(self, model: Any, ids: np.ndarray) -> Float[np.ndarray, " ids"]:
        """As the task scores."""
        return self.inner.score(model, ids)


@dataclass(frozen=True)
class Plan:
    """Everything a run needs, ready to go.

    Attributes:
        settings: What was asked for.
        splits: The data.
        weights: Weight of each search sample.
        parents: The models it starts from.
        space: The space their descendants live in.
        model: The live model that children are written into.
        search: The search, before its first child.
        base: The model that the parents were tuned from, if the genome names one.
        watched: Tasks that are scored at the end and never selected on.
        baselines: Merges by rule to compare with, by name.
    """

    settings: EvolveSettings
    splits: Splits
    weights: Float[np.ndarray, " samples"]
    parents: tuple[Parent, ...]
    space: Space | RecipeSpace
    model: LiveModel
    search: Search
    base: Parent | None = None
    watched: tuple[WatchedTask, ...] = ()
    baselines: tuple[tuple[str, RecipeGenome], ...] = ()

    @property
    def size(self) -> int:
        """Number of parameters of each model."""
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
        if isinstance(self.search, CmaEs) and self.search.diagonal:
            notes.append(
                f"CMA-ES keeps a diagonal covariance over {self.search.dimensions:,} dimensions; by itself it keeps "
                f"a full one up to {FULL_COVARIANCE_LIMIT:,}."
            )
        return tuple(notes)

    def checkpoint(self, genome: Any) -> Checkpoint:
        """A genome as named tensors; the element types are the first parent's, of a merge by rule its donor's."""
        if isinstance(genome, DenseGenome):
            return checkpoint_of(genome.vector, self.parents[0].checkpoint)
        plan = self.merge_plan(genome)
        workers = 1 if self.size < _SMALL else default_workers()
        return Engine(plan, Execution(workers)).in_memory(merged_config(plan))

    def merge_plan(self, genome: Combination | RecipeGenome) -> MergePlan:
        """How a genome that is a recipe is made of the models."""
        if isinstance(genome, RecipeGenome):
            return plan_blueprint(genome.blueprint, self.ingredients)
        return plan_combination(genome, [parent.checkpoint for parent in self.parents])

    def bring_to_life(self, genome: Any) -> None:
        """Make the live model this candidate: the one place where genomes become models that can be scored.

        A model that knows how to `become` what a merge plan makes is given the plan; others the flat parameters.

        Raises:
            CheckpointError: If a model is damaged.
            ValueError: If the method cannot work with what it found.
        """
        become = getattr(self.model, "become", None)
        if become is not None and not isinstance(genome, DenseGenome):
            become(self.merge_plan(genome))
        elif isinstance(genome, RecipeGenome) or isinstance(self.space, RecipeSpace):
            self.model.write(flat_read(self.checkpoint(genome), dtype=np.float32))
        else:
            self.model.write(self.space.flat(genome))


def make_plan(
    settings: EvolveSettings,
    *,
    parents: Sequence[Parent] | None = None,
    base: Parent | None = None,
    splits: Splits | None = None,
    module: nn.Module | None = None,
) -> Plan:
    """Set everything up.

    Args:
        settings: What is asked for.
        parents: The seeds, where they are at hand already (given in Python, or kept by a run to resume).
        base: The model they were tuned from, where it is at hand already.
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
        parts = [_open_task(t.task, settings) for t in weighted]
        splits = join_splits(parts)
        shares = [t.weight * p.weight for t, p in zip(weighted, parts, strict=True)]
        weights = sample_weights([len(p.search.samples) for p in parts], shares)
    else:
        check_disjoint(splits)
        weights = np.ones(len(splits.search.samples))
    module = module if module is not None else _module(settings)
    if parents is None:
        parents = _make_parents(settings, splits, module)
    if not parents:
        raise ConfigError("`models` is empty. List checkpoints, or say `scratch` or `specialists`.")
    check_aligned([p.checkpoint for p in parents])
    model = _live(parents[0].checkpoint, splits, module)
    if base is None and settings.genome.base is not None:
        [base] = open_parents([settings.genome.base])
    space = _space(settings, parents, base)
    search = _search(settings, space, splits.search, weights, parents[0].checkpoint)
    watched = tuple(WatchedTask(_held_out(_open_task(reference, settings))) for reference in settings.watch)
    baselines = _baselines(settings, parents, base)
    plan = Plan(settings, splits, weights, tuple(parents), space, model, search, base, watched, baselines)
    if isinstance(space, RecipeSpace):
        plan.merge_plan(space.decode(space.start))  # what does not fit together is said now
    for _, genome in baselines:
        plan.merge_plan(genome)
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
        blueprint = Blueprint.plain(name, numbers, {}, base=0 if takes_base else None, seed=settings.seed)
        found.append((name, RecipeGenome(models, blueprint)))
    return tuple(found)


def call_reference(reference: str) -> Any:
    """Result of the function that `module:function` names.

    Raises:
        ConfigError: If there is no such module or function.
    """
    name, _, function = reference.partition(":")
    try:
        return getattr(importlib.import_module(name), function)()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"Expected `module:function`, but {reference!r} cannot be found: {error}."
        ) from error


def open_parents(references: Sequence[str | Path]) -> list[Parent]:
    """The parents at these paths; equal names are numbered.

    Raises:
        CheckpointError: If one cannot be read.
    """
    stems = [Path(r).stem for r in references]
    names = [s if stems.count(s) == 1 else f"{s}-{i}" for i, s in enumerate(stems)]
    return [Parent(n, open_checkpoint(r)) for n, r in zip(names, references, strict=True)]


def _open_task(reference: str, settings: EvolveSettings) -> Splits:
    rule = SplitRule(
        settings.splits.preset, settings.splits.validation, settings.splits.test, settings.splits.seed
    )
    return open_task(reference, rule)


def _module(settings: EvolveSettings) -> nn.Module | None:
    return None if settings.genome.network is None else call_reference(settings.genome.network)


def _make_parents(settings: EvolveSettings, splits: Splits, module: nn.Module | None) -> list[Parent]:
    if not isinstance(settings.models, str):
        return open_parents(settings.models)
    if settings.models == "specialists":
        return _specialists(settings, splits)
    if module is not None:
        template = Checkpoint.from_module(module)
        starts = [random_start(settings.seed, k, template.layout.size) for k in range(2)]
        named = [template.layout.unflatten(s) for s in starts]
        buffers = {name: template.read(name) for name in template.buffers}
        return [Parent(f"start {k}", Checkpoint.from_tensors({**buffers, **n})) for k, n in enumerate(named)]
    widths = _widths(settings, splits)
    starts = [random_start(settings.seed, k, perceptron_size(widths)) for k in range(2)]
    return [Parent(f"start {k}", _perceptron(start, widths)) for k, start in enumerate(starts)]


def _widths(settings: EvolveSettings, splits: Splits) -> tuple[int, ...]:
    parts = [splits.search, *(t for t in (splits.validation, splits.test) if t is not None)]
    tasks = [p for part in parts for p in getattr(part, "parts", (part,))]
    classified = [t for t in tasks if isinstance(t, Classification)]
    if len(classified) != len(tasks):
        raise ConfigError(
            "A network from scratch is built for classification tasks only. Give `models:` for this task, "
            "or `genome: {network: module:function}`."
        )
    features = {t.features for t in classified}
    if len(features) != 1:
        raise TaskError(
            f"All tasks must have equally many inputs per sample, but they have {sorted(features)}."
        )
    return (features.pop(), *settings.genome.hidden, max(t.classes for t in classified))


def _perceptron(flat: np.ndarray, widths: tuple[int, ...]) -> Checkpoint:
    config = {"model_type": "perceptron", "widths": list(widths), "activation": "relu"}
    return Checkpoint.from_tensors(perceptron_tensors(flat, widths), config=config)


def _specialists(settings: EvolveSettings, splits: Splits) -> list[Parent]:
    """Two networks, each trained for ten steps on one half of the classes, as in the authors' code."""
    task, widths = splits.search, _widths(settings, splits)
    if not isinstance(task, Classification) or task.samples.labels is None:
        raise ConfigError("Specialists are trained for a single classification task. Give `models:` instead.")
    half = widths[-1] // 2
    parents = []
    for k, (first, last) in enumerate([(0, half - 1), (half, widths[-1] - 1)]):
        mine = (task.samples.labels >= first) & (task.samples.labels <= last)
        if not mine.any():
            raise TaskError(
                f"No sample has a class from {first} to {last}, so there is nothing to specialise in."
            )
        inputs = task.inputs[mine].reshape(int(mine.sum()), -1)
        start = random_start(settings.seed, k, perceptron_size(widths))
        trained = train_perceptron(start, widths, inputs, task.samples.labels[mine])
        parents.append(Parent(f"classes {first}-{last}", _perceptron(trained, widths)))
    return parents


def _space(settings: EvolveSettings, parents: Sequence[Parent], base: Parent | None) -> Space | RecipeSpace:
    genome, checkpoints = settings.genome, [p.checkpoint for p in parents]
    if genome.is_recipe:
        refuse_chromosomes(genome)
        return recipe_space(settings, checkpoints, None if base is None else base.checkpoint)
    refuse_recipe_keys(genome, has_baselines=bool(settings.baselines))
    values = np.stack([flat_read(c, dtype=np.float32) for c in checkpoints])
    from_scratch = settings.models == "scratch"
    if genome.kind == "dense" or (genome.kind == "auto" and from_scratch):
        refuse_chromosomes(genome)
        return DenseSpace(
            settings.seed,
            values.shape[1],
            starts=list(values),
            sigma=genome.mutation,
            rule=genome.rule,
            angles=genome.angles,
        )
    return CombinationSpace(
        [c.digest for c in checkpoints],
        values,
        rule=genome.rule,
        angles=genome.angles,
        chromosomes=chromosomes_of(genome, checkpoints[0]),
    )


def _live(checkpoint: Checkpoint, splits: Splits, module: nn.Module | None) -> LiveModel:
    if module is not None:
        model: LiveModel = TorchModel(copy.deepcopy(module))
        if model.size != checkpoint.layout.size:
            raise ValueError(
                f"The network has {model.size} parameters, but {checkpoint.source} has {checkpoint.layout.size}."
            )
        return model
    first = getattr(splits.search, "parts", (splits.search,))[0]
    if not isinstance(first, Classification):
        raise ConfigError("For tasks other than array classification pass the network as a torch module.")
    perceptron = Perceptron.of(checkpoint, first.features)
    if perceptron.outputs < first.classes:
        raise ValueError(
            f"{first.name} has {first.classes} classes, but {checkpoint.source} answers with "
            f"{perceptron.outputs} values."
        )
    return perceptron


def _search(
    settings: EvolveSettings,
    space: Space | RecipeSpace,
    task: Task,
    weights: Float[np.ndarray, " samples"],
    donor: Checkpoint,
) -> Search:
    s, seed = settings.search, settings.seed
    if isinstance(space, RecipeSpace):
        return recipe_search(settings, space, weights)
    population = s.population or POPULATION
    if s.method in ("natural-niches", "ga"):
        ga = s.method == "ga"
        variation = Variation(
            s.attraction and not ga, s.split_point, s.crossover, s.early_rejection, s.warmup
        )
        niches = Niches(0.0 if ga else s.alpha, s.epsilon, task.binary)
        return NaturalNiches.start(
            space, weights, seed=seed, population=population, niches=niches, variation=variation
        )
    makers: dict[str, Callable[[], Search]] = {
        "map-elites": lambda: MapElites.start(space, weights, seed=seed, groups=_parity(task), bins=s.bins),
        "cma-es": lambda: CmaEs.start(
            _vectors(space, donor), weights, seed=seed, population=population, covariance=s.covariance
        ),
        "random": lambda: RandomSearch.start(space, weights, seed=seed, population=population),
        "brute-force": lambda: BruteForce.start(space, weights, steps=s.steps, population=population),
    }
    return makers[s.method]()


def _parity(task: Task) -> np.ndarray:
    """The two behaviours of MAP-Elites: samples of odd and of even class."""
    labels = task.samples.labels
    if labels is None:
        raise ConfigError("MAP-Elites takes odd and even classes as its axes, but this task has no classes.")
    return np.stack([labels % 2 == 1, labels % 2 == 0])


def _vectors(space: Space, donor: Checkpoint) -> VectorSpace:
    if isinstance(space, DenseSpace):
        return DenseVectors(space)
    assert isinstance(space, CombinationSpace)
    sizes = [
        sum(donor.spec(n).numel for n in layer.tensors if n in donor.layout.names) for layer in donor.layers
    ]
    return LayerWeights(space, tuple(itertools.accumulate([s for s in sizes if s], initial=0)))
