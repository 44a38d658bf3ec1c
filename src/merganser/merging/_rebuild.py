"""From a recipe back to the model: build it again, or compare it with what is there, byte by byte."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from merganser._errors import CheckpointError, ConfigError
from merganser.merging._combination import Combination
from merganser.merging._combine import plan_combination
from merganser.merging._execute import Engine, Progress
from merganser.merging._layer_path import LayerPath
from merganser.merging._merge import Model, open_models, recipe_of
from merganser.merging._merge_recipe import MergeRecipe
from merganser.merging._path_plan import plan_path
from merganser.merging._plan import MergePlan
from merganser.merging._planning import plan_blueprint
from merganser.merging._recipe import RECIPE_NAME, Recipe, read_recipe
from merganser.merging._statistics import Statistics, StatisticsLike, opened_statistics
from merganser.merging._write import default_workers, merged_config, open_result, write_merge
from merganser.weights import Checkpoint, Execution


def materialise(
    recipe: Recipe,
    models: Sequence[Model] = (),
    *,
    statistics: Sequence[StatisticsLike] = (),
    out: str | Path | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Checkpoint:
    """The model that a recipe describes.

    Args:
        recipe: What to build.
        models: The seeds of a combination or a path, in any order, since they are known by their digests; or the
            models of a merge, the base first, by default from where they were. Element types, buffers and
            configuration of a combination are its first seed's. A path is written as the merge that it is.
        statistics: Where the statistics are that the merge used, in the order of the models; by default where they
            were.
        out: Folder (or ``.safetensors`` file) to write, in one pass and bounded memory; None to keep it in memory.
        workers: Threads; by default one for each processor.
        overwrite: Whether `out` may be replaced.
        progress: Called now and then with how far it is.

    Raises:
        ValueError: If a seed that the recipe names is missing, or they do not align.
        ConfigError: If a model is not the one that the recipe names.
        CheckpointError: If a model is damaged, or holds NaN or infinite numbers.
        OutputError: If `out` exists and may not be replaced, or cannot be written.
    """
    plan = plan_recipe(recipe, models, statistics)
    engine = Engine(plan, Execution(workers or default_workers()), progress)
    if out is not None:
        recipe = recipe_of(plan, digests=True) if isinstance(recipe, LayerPath) else recipe
        return write_merge(engine, recipe, Path(out), overwrite=overwrite)
    return engine.in_memory(merged_config(plan))


def plan_recipe(
    recipe: Recipe, models: Sequence[Model] = (), statistics: Sequence[StatisticsLike] = ()
) -> MergePlan:
    """The plan that a recipe stands for; arguments and errors as those of `materialise`."""
    if isinstance(recipe, Combination):
        return plan_combination(recipe, open_models(models, None, None)[0])
    if isinstance(recipe, LayerPath):
        return plan_path(recipe, open_models(models, None, None)[0])
    measured = _measured(recipe, statistics)
    return plan_blueprint(recipe.blueprint, _ingredients(recipe, models), measured)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a rebuild found.

    Args:
        tensors: Tensors compared.
        different: Those that differ, or that only one side has.
    """

    tensors: int
    different: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether the model is what its recipe says, byte by byte."""
        return not self.different


def verify(
    path: str | Path,
    models: Sequence[Model] = (),
    *,
    statistics: Sequence[StatisticsLike] = (),
    workers: int | None = None,
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
) -> Verification:
    """Rebuild a merged model from the recipe in its folder, and compare.

    Args:
        path: The folder.
        models: Where the recipe's models are now, in its order, the base first; by default where they were.
        statistics: Where the statistics are that the merge used, in the order of the models.
        workers: Threads; by default one for each processor.
        device: Where to compute; another than the merge's may round differently.
        progress: Called now and then with how far it is.

    Raises:
        ConfigError: If there is no recipe, or a model is not the one it names.
        ValueError: If a seed that the recipe names is missing.
        CheckpointError: If a model cannot be read.
    """
    folder = Path(path).expanduser()
    plan = plan_recipe(read_recipe(folder / RECIPE_NAME), models, statistics)
    there = open_result(folder)
    sink = _Comparison(there)
    targets = [t for t in plan.targets if t.spec.name in there and there.spec(t.spec.name) == t.spec]
    Engine(plan, Execution(workers or default_workers(), device=device), progress).run(targets, sink)
    compared = {target.spec.name for target in targets}
    unmatched = {target.spec.name for target in plan.targets} ^ set(there) | {
        t.spec.name for t in plan.targets if t.spec.name not in compared
    }
    return Verification(len(compared), tuple(sorted(sink.different | unmatched)))


def _ingredients(recipe: MergeRecipe, models: Sequence[Model]) -> list[Checkpoint]:
    wanted = recipe.ingredients
    if models and len(models) != len(wanted):
        raise ConfigError(
            f"The recipe names {len(wanted)} models, the base first, but {len(models)} were given."
        )
    given = list(models) or [
        ingredient.reference if ingredient.recipe is None else materialise(ingredient.recipe)
        for ingredient in wanted
    ]
    if None in given:
        raise ConfigError(
            "The recipe was made with models that were only in memory, so nobody knows where they are. Give them as "
            "arguments."
        )
    try:
        opened, _, _ = open_models([model for model in given if model is not None], None, None)
    except CheckpointError as error:
        raise ConfigError(
            f"A model of the recipe cannot be opened. Give where the models are now. ({error})"
        ) from error
    for ingredient, checkpoint in zip(wanted, opened, strict=True):
        ingredient.check(checkpoint)
    return opened


def _measured(recipe: MergeRecipe, statistics: Sequence[StatisticsLike]) -> list[Statistics | None]:
    """What was measured on each of a recipe's models; None where nothing was."""
    wanted = [each.statistics for each in recipe.ingredients]
    needed = [each for each in wanted if each is not None]
    if statistics and len(statistics) != len(needed):
        raise ConfigError(f"The recipe names {len(needed)} statistics, but {len(statistics)} were given.")
    given = [each.reference if not statistics else statistics[i] for i, each in enumerate(needed)]
    opened: list[Statistics] = []
    for named, place in zip(needed, given, strict=True):
        if place is None:
            raise ConfigError(
                "The recipe was made with statistics that were only in memory, so nobody knows where they are. Give "
                "them as arguments."
            )
        try:
            opened.append(opened_statistics(place))
        except CheckpointError as error:
            raise ConfigError(
                f"Statistics of the recipe cannot be opened. Give where they are now. ({error})"
            ) from error
        named.check(opened[-1].tensors, "file of statistics")
    left = iter(opened)
    return [None if each is None else next(left) for each in wanted]


class _Comparison:
    """A sink that compares with a checkpoint, and remembers which tensors differ."""

    def __init__(self, there: Checkpoint) -> None:
        self._there, self._lock = there, threading.Lock()
        self.different: set[str] = set()

    def write_at(self, name: str, offset: int, chunk: memoryview) -> None:
        """Compare."""
        if self._there.tensors.view(name).data[offset : offset + len(chunk)] != chunk.cast("B"):
            with self._lock:
                self.different.add(name)
