"""`merganser.evolve`: grow a model, or go on growing one."""

from __future__ import annotations

import dataclasses
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from merganser._errors import ConfigError, RunError, TaskError
from merganser.evaluation import Splits, Task
from merganser.run._chain import next_settings, written_winner
from merganser.run._directory import RunDirectory
from merganser.run._inspect import export
from merganser.run._loop import Evolution
from merganser.run._outcome import Outcome, conclude, interrupted
from merganser.run._parents import Parent, open_parents
from merganser.run._plan import Plan, make_plan
from merganser.run._runners import Here, Runner
from merganser.run._settings import (
    Budget,
    EvolveSettings,
    SearchSettings,
    SubsetSettings,
    parse_settings,
)
from merganser.run._workers import MakePlan, Workers
from merganser.weights import Checkpoint

if TYPE_CHECKING:
    from torch import nn

Watcher = Callable[[Evolution], None]
"""Called about twice a second, and once at the end, with the run in progress."""


def evolve(
    models: Sequence[str | Path | Checkpoint | nn.Module] | str = "scratch",
    task: str | Task | Splits = "digits",
    *,
    search: str | SearchSettings | dict[str, Any] = "natural-niches",
    budget: int | str | Budget | None = None,
    adapt: str | Path | dict[str, Any] | None = None,
    genome: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    splits: str | dict[str, Any] = "default",
    subset: int | SubsetSettings | dict[str, Any] | None = None,
    seed: int = 0,
    watch: Sequence[str] = (),
    baselines: Sequence[str] = (),
    workers: int = 1,
    time_limit: float | None = None,
    run: str | Path | None = None,
    out: str | Path | None = None,
    progress: Watcher | None = None,
) -> Outcome:
    """Search for the best combination of models on a task.

    If `run` names a run that was interrupted and the settings are the same, it is resumed.

    Args:
        models: Checkpoints, their paths, or torch modules of one architecture; or `scratch` (small random
            networks), or `specialists` (two networks trained on the spot on half of the classes each).
        task: `digits`, an npz file, a folder of arrays, `module:function`, a task, or splits of one.
        search: Method, or its settings: see [`SearchSettings`][].
        budget: Evaluations (20000), or a time (`90s`, `10m`, `2h`).
        adapt: The base of experts, where `models` are files of such; or the settings of [`AdaptSettings`][].
        genome: What evolves: see [`GenomeSettings`][].
        output: What merges by rule are written as: see [`OutputSettings`][].
        splits: `default`, `paper`, or the settings of [`SplitSettings`][].
        subset: Most search samples that a child is scored on, or the settings of [`SubsetSettings`][]; None: all.
        seed: Seed of everything random.
        watch: Tasks that are scored at the end, for the winner and every parent, and never selected on.
        baselines: Merge methods to compare with, such as ``"linear"``, with their defaults.
        workers: Children scored at the same time, in processes of their own. They import the main module anew, so a
            script that starts them keeps its work under ``if __name__ == "__main__":``.
        time_limit: Seconds that scoring a child on a block of samples may take; a child that takes longer has failed.
        run: The run directory; by default a new one under `runs/`.
        out: Where to write the winner as a checkpoint; of experts as [`export`][] does.
        progress: Called about twice a second with the run in progress.

    Returns:
        The winner, its scores and its parents' on every split, and where the run lies.

    Raises:
        ConfigError: If settings are wrong.
        TaskError: If the data cannot be used, or no parent can be scored.
        CheckpointError: If a model cannot be read.
        ValueError: If models do not fit together or to the task.
        RunError: If `run` is another run, or finished.
        OutputError: If something cannot be written.

    Examples:
        >>> import tempfile
        >>> outcome = evolve(task="digits", budget=60, run=tempfile.mkdtemp() + "/run")
        >>> outcome.evaluations, outcome.finished
        (60, True)
    """
    are_experts = adapt is not None
    parents, module = (None, None) if isinstance(models, str) or are_experts else _given_parents(models)
    data: dict[str, Any] = {
        "models": models if isinstance(models, str) else _names(models, parents),
        "task": task if isinstance(task, str) else getattr(task, "name", "splits"),
        "search": _plain(search, "method"),
        "splits": _plain(splits, "preset"),
        "subset": None if subset is None else _plain(subset, "samples"),
        "adapt": None if adapt is None else _plain(str(adapt) if isinstance(adapt, Path) else adapt, "base"),
        "genome": genome or {},
        "output": output or {},
        "budget": dataclasses.asdict(Budget.parse(budget)),
        "seed": seed,
        "watch": list(watch),
        "baselines": list(baselines),
        "workers": workers,
        "time_limit": time_limit,
    }
    given = task if isinstance(task, Splits) else None if isinstance(task, str) else Splits(task)
    settings = parse_settings(data, "evolve")
    return evolve_settings(
        settings, run=run, out=out, progress=progress, parents=parents, splits=given, module=module
    )


def evolve_settings(
    settings: EvolveSettings,
    *,
    run: str | Path | None = None,
    out: str | Path | None = None,
    progress: Watcher | None = None,
    parents: Sequence[Parent] | None = None,
    splits: Splits | None = None,
    module: nn.Module | None = None,
) -> Outcome:
    """The same from settings: what the command does with an evolve file.

    Raises:
        MerganserError: As [`evolve`][].
        ValueError: As [`evolve`][].
    """
    directory = RunDirectory(Path(run) if run is not None else _fresh_directory(settings))
    if out is not None and Path(out).exists():
        raise ConfigError(f"{out} exists already. Choose another place for the winner, or remove it.")
    if directory.exists:
        _check_same(directory, settings)
        if settings.then is not None and directory.is_finished:
            return _following(directory, settings, out, progress, splits, module)
        plan = _continued(directory, settings, splits, module)
    else:
        plan = make_plan(settings, parents=parents, splits=splits, module=module)
        directory.create(plan)
    make = functools.partial(directory.reopen, plan.settings, splits=splits, module=module)
    outcome = _drive(plan, directory, make, None if settings.then else out, progress)
    if settings.then is None or not outcome.finished:
        return outcome
    return _following(directory, settings, out, progress, splits, module)


def _following(
    directory: RunDirectory,
    settings: EvolveSettings,
    out: str | Path | None,
    progress: Watcher | None,
    splits: Splits | None = None,
    module: nn.Module | None = None,
) -> Outcome:
    """The search after a finished one, from its winner; begun, or gone on with."""
    following = next_settings(directory, settings)
    run = directory.next.path
    return evolve_settings(following, run=run, out=out, progress=progress, splits=splits, module=module)


def resume(
    run: str | Path,
    *,
    budget: int | str | Budget | None = None,
    out: str | Path | None = None,
    progress: Watcher | None = None,
) -> Outcome:
    """Go on with a run that was interrupted, or extend a finished one with a larger budget.

    Of a run that is followed by another search the second one is meant as soon as the first is finished.

    Raises:
        RunError: If it is no run, is finished and has no larger budget, or its models or data changed.
    """
    directory = RunDirectory(Path(run))
    settings = directory.settings()
    if settings.then is not None and directory.is_finished:
        if directory.next.exists:
            written_winner(directory)
            return resume(directory.next.path, budget=budget, out=out, progress=progress)
        return _following(directory, settings, out, progress)
    if budget is not None:
        settings = dataclasses.replace(settings, budget=Budget.parse(budget))
    with directory.journal() as journal:
        finished, count = journal.outcome() is not None, journal.count()
    limit = settings.budget.evaluations
    if finished and (budget is None or (limit is not None and limit <= count)):
        raise RunError(
            f"{run} is finished after {count} evaluations. Give a larger --budget to extend it, "
            f"or look at it: merganser runs show {run}"
        )
    make = functools.partial(directory.reopen, settings)
    outcome = _drive(make(), directory, make, None if settings.then else out, progress)
    if settings.then is None or not outcome.finished:
        return outcome
    return _following(directory, settings, out, progress)


def _drive(
    plan: Plan,
    directory: RunDirectory,
    make_plan: MakePlan,
    out: str | Path | None,
    progress: Watcher | None,
) -> Outcome:
    with (
        threadpool_limits(plan.threads),
        directory.journal(write=True) as journal,
        closing(_runner(plan, make_plan)) as runner,
        _stop_signal() as stopped,
    ):
        directory.sweep()
        journal.set_meta(settings=plan.settings.to_json())
        evolution = Evolution(plan, journal, runner)
        _check_parents(evolution)
        shown = time.monotonic()
        while not evolution.done and not stopped():
            evolution.step()
            if evolution.save_if_due() and progress is not None and time.monotonic() - shown > 0.4:
                progress(evolution)
                shown = time.monotonic()
        end = conclude if evolution.done else interrupted
        outcome = end(evolution, directory)
        if progress is not None:
            progress(evolution)
    if out is not None and outcome.finished:
        export(directory.path, out)
    return outcome


def _runner(plan: Plan, make_plan: MakePlan) -> Runner:
    """This process if that is enough; worker processes where there are several, or one may have to be stopped."""
    settings = plan.settings
    if not settings.uses_workers:
        return Here(plan)
    return Workers(make_plan, settings.workers, time_limit=settings.time_limit, threads=plan.threads)


def _check_parents(evolution: Evolution) -> None:
    """Score the parents first; if none can be scored, no child will be either."""
    count = len(evolution.plan.parents)
    while evolution.evaluations < count and not evolution.done:
        evolution.step()
    if evolution.evaluations == count == evolution.failures:
        evolution.save()
        reason = next(c.failed for c in evolution.journal.children() if c.failed is not None)
        raise TaskError(f"None of the {count} models can be scored on {evolution.task.name}: {reason}")


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; a second one interrupts at once."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def note(signum: int, _frame: Any) -> None:
        signal.signal(signum, before)
        pressed.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _check_same(directory: RunDirectory, settings: EvolveSettings) -> None:
    """Make sure that the run that is there is the one that was asked for, but for the budget."""
    if dataclasses.replace(directory.settings(), budget=settings.budget) != settings:
        raise RunError(
            f"{directory.path} holds a run with other settings. Give another --run, or go on with that one: "
            f"merganser runs resume {directory.path}"
        )


def _continued(
    directory: RunDirectory, settings: EvolveSettings, splits: Splits | None, module: nn.Module | None
) -> Plan:
    """The plan of the run that is there, if it is not finished."""
    if directory.is_finished and directory.settings().budget == settings.budget:
        raise RunError(
            f"{directory.path} holds this very run, finished. Look at it: merganser runs show {directory.path}"
        )
    return directory.reopen(settings, splits=splits, module=module)


def _fresh_directory(settings: EvolveSettings) -> Path:
    task = Path(settings.weighted_tasks[0].task).stem.replace(":", "-")
    stem = f"runs/{time.strftime('%Y%m%d-%H%M%S')}-{task}-{settings.search.method}"
    candidates = [Path(stem), *(Path(f"{stem}-{i}") for i in range(2, 1000))]
    return next(c for c in candidates if not c.exists())


def _given_parents(
    models: Sequence[str | Path | Checkpoint | nn.Module],
) -> tuple[list[Parent] | None, nn.Module | None]:
    """The parents, names like those of files where they are files; and the network, if modules were given."""
    paths = [m for m in models if isinstance(m, str | Path)]
    if len(paths) == len(models):
        return open_parents(paths), None
    parents, module = [], None
    for i, model in enumerate(models):
        if isinstance(model, str | Path):
            parents += open_parents([model])
        else:
            given = model if isinstance(model, Checkpoint) else Checkpoint.from_module(model)
            source = given.source if given.path is not None else f"model {i}"
            parents.append(Parent(f"model {i}", dataclasses.replace(given, source=source)))
            module = model if module is None and not isinstance(model, Checkpoint) else module
    return parents, module


def _names(models: Sequence[Any], parents: Sequence[Parent] | None) -> list[str]:
    """How the settings name the models: by path, or by digest where they are objects."""
    if parents is None:
        if odd := [model for model in models if not isinstance(model, str | Path)]:
            raise TypeError(
                f"With `adapt`, `models` are files of experts, but one is a {type(odd[0]).__name__}."
            )
        return [str(model) for model in models]
    digests = [parent.checkpoint.digest for parent in parents]
    return [str(m) if isinstance(m, str | Path) else d for m, d in zip(models, digests, strict=True)]


def _plain(value: Any, key: str) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return dict(value) if isinstance(value, dict) else {key: value}
