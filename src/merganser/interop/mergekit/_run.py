"""Carrying out mergekit's files: plan all documents, then merge, each stage after those it needs."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from merganser._errors import CheckpointError, OutputError
from merganser.interop.mergekit._read import MergekitConfig, in_order, read_mergekit
from merganser.merging import (
    SHARD_BYTES,
    Engine,
    Formulas,
    MergePlan,
    MergeRecipe,
    Progress,
    SliceError,
    default_workers,
    identity_of,
    merged_config,
    plan_blueprint,
    recipe_of,
    write_companions,
    write_merge,
)
from merganser.weights import (
    Bytes,
    Checkpoint,
    Execution,
    FileStamp,
    TensorSpec,
    atomic_write_text,
    open_checkpoint,
    refuse_existing,
)


@dataclass(frozen=True)
class Stage:
    """One document of a file, planned.

    Args:
        config: The document.
        plan: What it does. Models that other stages make stand there as headers only, until they are made.
    """

    config: MergekitConfig
    plan: MergePlan


def plan_mergekit(path: Path | str, *, formulas: Formulas = "papers", seed: int = 0) -> tuple[Stage, ...]:
    """Read a file, open its models, and plan every document; reads headers only.

    Args:
        path: The file.
        formulas: Whose formulas to follow where they differ.
        seed: Key of random numbers.

    Returns:
        The stages in the order in which they are carried out; the last one makes the result.

    Raises:
        ConfigError: If something in the file is wrong, or does not fit the models, with the line.
        CheckpointError: If a model cannot be opened.
    """
    made: dict[str, Checkpoint] = {}
    stages: list[Stage] = []
    with TemporaryDirectory(prefix="merganser-") as scratch:
        for number, config in enumerate(in_order(read_mergekit(path))):
            plan = _plan(config, made, formulas, seed)
            stages.append(Stage(config, plan))
            if config.name is not None:
                made[config.name] = _to_be(config.name, plan, Path(scratch) / str(number))
    return tuple(stages)


def merge_mergekit(
    path: Path | str,
    out: Path | str,
    *,
    formulas: Formulas = "papers",
    seed: int = 0,
    workers: int | None = None,
    device: str = "cpu",
    shard_size: int | None = SHARD_BYTES,
    overwrite: bool = False,
    digests: bool = False,
    licence: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Checkpoint:
    """Carry out a mergekit file.

    What documents make for others is kept in a hidden folder beside `out` until the result is there.

    Args:
        path: The file: one document for `mergekit-yaml`, or several for `mergekit-multi`.
        out: Folder (or ``.safetensors`` file) to write.
        formulas: Whose formulas to follow where they differ: the papers', or mergekit's own.
        seed: Key of random numbers.
        workers: Threads; by default one for each processor.
        device: Where to compute, as torch names it.
        shard_size: Bytes a file may have, unless a single tensor has more; None for no limit.
        overwrite: Whether `out` may be replaced.
        digests: Whether the recipe names the models by their digests too, which reads them once more.
        licence: Under which licence the results are; by default the strictest of the models'.
        progress: Called now and then with how far a stage is.

    Returns:
        The merged checkpoint.

    Raises:
        ConfigError: If something in the file is wrong, with the line.
        CheckpointError: If a model cannot be read, holds NaN, or does not fit the others.
        OutputError: If `out` exists and may not be replaced, or cannot be written.
    """
    return carry_out(
        plan_mergekit(path, formulas=formulas, seed=seed),
        Path(out),
        Execution(workers or default_workers(), device=device),
        shard_size=shard_size,
        overwrite=overwrite,
        digests=digests,
        licence=licence,
        progress=progress,
    )


def carry_out(
    stages: Sequence[Stage],
    out: Path,
    execution: Execution,
    *,
    shard_size: int | None = SHARD_BYTES,
    overwrite: bool = False,
    digests: bool = False,
    licence: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Checkpoint:
    """Merge what was planned; arguments and errors as those of `merge_mergekit`."""
    place = out.expanduser().absolute()
    between = place.with_name(f".{place.name}.stages")
    refuse_existing(place, overwrite=overwrite)
    made: dict[str, Checkpoint] = {}
    made_by: dict[Checkpoint, MergeRecipe] = {}

    def ready(stage: Stage) -> tuple[MergeRecipe, Engine]:
        """A stage whose models are all there."""
        plan, blueprint = stage.plan, stage.plan.blueprint
        assert blueprint is not None
        if made:
            plan = _plan(stage.config, made, blueprint.formulas, blueprint.seed)
        recipe = recipe_of(plan, digests=digests, licence=licence, made_by=made_by)
        return recipe, Engine(plan, execution, progress)

    for number, stage in enumerate(stages[:-1]):
        recipe, engine = ready(stage)
        assert stage.config.name is not None
        folder, mark = between / str(number), between / f"{number}.json"
        identity = identity_of(recipe, engine.plan, {})
        if not (folder.exists() and _says(mark, identity)):
            _forget(mark)
            write_merge(engine, recipe, folder, shard_size=shard_size, overwrite=True)
            atomic_write_text(mark, identity)
        checkpoint = made[stage.config.name] = open_checkpoint(folder)
        made_by[checkpoint] = recipe
    recipe, engine = ready(stages[-1])
    merged = write_merge(engine, recipe, place, shard_size=shard_size, overwrite=overwrite)
    shutil.rmtree(between, ignore_errors=True)
    return merged


def _forget(mark: Path) -> None:
    try:
        mark.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{mark} cannot be removed: {error.strerror}.") from error


def _says(mark: Path, identity: str) -> bool:
    """Whether an earlier attempt has noted that it made the same."""
    try:
        return mark.read_text(encoding="utf-8") == identity
    except (OSError, UnicodeDecodeError):
        return False


def _plan(config: MergekitConfig, made: Mapping[str, Checkpoint], formulas: Formulas, seed: int) -> MergePlan:
    blueprint = dataclasses.replace(config.blueprint, formulas=formulas, seed=seed)
    models = [made[model] if model in made else open_checkpoint(model) for model in config.models]
    try:
        return plan_blueprint(blueprint, models)
    except SliceError as error:
        config.nodes[id(error.source)].fail(f"does not fit the model. {error}")
    except ValueError as error:
        config.document.fail(f"does not fit its models. {error}")


def _to_be(name: str, plan: MergePlan, folder: Path) -> Checkpoint:
    """What a plan makes, before it is made: headers, and in a folder what lies beside the weights."""
    folder.mkdir()
    write_companions(plan, folder)
    specs = {target.spec.name: target.spec for target in plan.targets}
    return Checkpoint(_HeadersOnly(specs), name, None, folder, merged_config(plan))


class _HeadersOnly:
    """Tensors of a model that is yet to be made."""

    stamps: tuple[FileStamp, ...] = ()

    def __init__(self, specs: Mapping[str, TensorSpec]) -> None:
        self.specs: Mapping[str, TensorSpec] = MappingProxyType(dict(specs))

    def view(self, name: str) -> Bytes:
        """Not yet.

        Raises:
            CheckpointError: Always.
        """
        raise CheckpointError(f"Tensor {name!r} is not made yet.")

    def chunks(self, name: str) -> Iterator[memoryview]:
        """Not yet.

        Raises:
            CheckpointError: Always.
        """
        raise CheckpointError(f"Tensor {name!r} is not made yet.")
