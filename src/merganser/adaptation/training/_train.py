"""Training an expert: from a base and a task to a folder with the best expert, its history and its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser._errors import TaskError
from merganser._training_folder import begin, finish
from merganser._version import __version__
from merganser.adaptation._expert import ExpertVector, Fact
from merganser.adaptation._expert_file import open_expert, save_expert
from merganser.adaptation._peft_expert import expert_from_peft
from merganser.adaptation.training._adapters import Adapter, Full, Svf, adapter_facts
from merganser.adaptation.training._extra import versions, without_notices
from merganser.adaptation.training._folder import (
    ADAPTER_NAME,
    CHECKPOINTS_NAME,
    EXPERT_NAME,
    MODEL_NAME,
    last_checkpoint,
)
from merganser.adaptation.training._history import Row, best_look, read_history
from merganser.adaptation.training._settings import Training
from merganser.evaluation import (
    GenerativeTask,
    Interval,
    Splits,
    difference_interval,
    mean_interval,
    open_task,
)
from merganser.models import LanguageModel, evaluating, load, threads_for
from merganser.weights import Checkpoint, open_checkpoint, save, single_threaded


@dataclass(frozen=True, slots=True)
class Trained:
    """A training that is over.

    Attributes:
        folder: Where it is.
        kind: What was trained: `svf`, `lora` or `full`.
        parameters: How many numbers were trained.
        rows: What happened, step by step.
        best: The look whose expert was kept; without validation samples None, and the last one was kept.
        test: Scores on the test samples, each of the base and of what was kept; None if there are none.
    """

    folder: Path
    kind: str
    parameters: int
    rows: tuple[Row, ...]
    best: Row | None
    test: TestScores | None

    @property
    def path(self) -> Path:
        """The file or folder of what was trained."""
        return self.folder / {"svf": EXPERT_NAME, "lora": ADAPTER_NAME, "full": MODEL_NAME}[self.kind]

    def expert(self) -> ExpertVector:
        """The expert.

        Raises:
            ValueError: If something else was trained.
            CheckpointError: If its file is damaged.
        """
        if self.kind != "svf":
            raise ValueError(
                f"No expert was trained in {self.folder}, but {self.path.name}: open {self.path}."
            )
        return open_expert(self.path)


@dataclass(frozen=True, slots=True)
class TestScores:
    """Mean scores on the test samples, with 95 % intervals.

    Attributes:
        base: Of the base.
        trained: Of what was trained.
        change: Their difference, paired.
    """

    __test__ = False  # no test of pytest's

    base: Interval
    trained: Interval
    change: Interval


def train(
    base: str | Path | Checkpoint,
    task: str | Path | Splits,
    folder: str | Path,
    adapter: Adapter | None = None,
    settings: Training | None = None,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    watch: Callable[[Row], None] | None = None,
) -> Trained:
    """Train an expert on a task whose answers are graded; or a LoRA, or all weights.

    What is kept is what was best on the validation samples, the base itself included. The test samples are scored at
    the end, once for the base and once for what is kept. Killed and called again with the same arguments, it goes on
    from its last checkpoint, to the same history and expert; called once more, it gives what came of it.

    Args:
        base: The model, by reference or opened.
        task: A task as [`open_task`][merganser.evaluation.open_task] takes it, or opened and divided. What is trained
            on are its search samples.
        folder: Where to; new, empty, or the folder of this very training.
        adapter: What is trained; by default an expert of the MLPs.
        settings: How; by default by leave-one-out.
        dtype: Element type of the base in memory; by default that on disk. Take float32 to train all weights.
        device: Where to compute, as torch names it.
        watch: Called with each row of the history.

    Returns:
        What came of it.

    Raises:
        ConfigError: If the extra `rl` is not installed.
        TaskError: If the task's answers are not written and graded, a supervised step finds no right answer, or a
            reward raises or is no score. Checkpoints stay.
        NonFiniteOutputError: If the model's output becomes NaN or infinite. Checkpoints stay.
        RunError: If the folder holds another training that got to a checkpoint.
        ValueError: If the adapter's choice of matrices is wrong, or torch has no such element type or device.
        OutputError: If the folder holds something else, or cannot be written.
        CheckpointError: If the base or a checkpoint is damaged.
    """
    libraries = versions()
    adapter, settings, place = adapter or Svf(), settings or Training(), Path(folder).expanduser()
    checkpoint = base if isinstance(base, Checkpoint) else open_checkpoint(base)
    splits = task if isinstance(task, Splits) else open_task(task)
    parts = {name: _generative(name, getattr(splits, name)) for name in ("search", "validation", "test")}
    search = parts["search"]
    assert search is not None
    adapter.matrices(checkpoint)  # a choice that is wrong shows before a folder is made
    of = _identity(checkpoint, parts, adapter, settings, dtype)
    of["versions"] = {"merganser": __version__} | libraries
    found = begin(place, of, gives_way=last_checkpoint(place) is None)
    if found is None:
        model = load(checkpoint, dtype=dtype, device=device)
        threads = single_threaded() if threads_for(model.size) == 1 else nullcontext()
        with without_notices(), threads:
            found = _trained(model, checkpoint, parts, adapter, settings, place, watch)
        finish(place, of, found)
    return _result(place, adapter.kind, found)


def _trained(
    model: LanguageModel,
    base: Checkpoint,
    parts: Mapping[str, GenerativeTask | None],
    adapter: Adapter,
    settings: Training,
    folder: Path,
    watch: Callable[[Row], None] | None,
) -> dict[str, Any]:
    """Train, leave the live model with the best, write that, and say what came of it."""
    from transformers import PrinterCallback

    from merganser.adaptation.training._journal import Journal
    from merganser.adaptation.training._trainer import make_trainer

    search, validation = parts["search"], parts["validation"]
    assert search is not None
    trainer = make_trainer(model, base, search, adapter, settings, folder / CHECKPOINTS_NAME)
    look = None if validation is None else lambda: float(_scores(model, validation).mean())
    journal = Journal(trainer, folder, settings, look, watch)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(journal)
    place = journal.resume()
    if not journal.is_over:
        trainer.train(resume_from_checkpoint=None if place is None else str(place))
    trainer.put(journal.best)
    best, taken = best_look(journal.rows), journal.rows[-1].step
    asked = parts["test"]
    test = None if asked is None else _compared(trainer, model, base, asked)
    facts: dict[str, Fact] = {
        "task": search.name,
        "base": base.source,
        "objective": settings.objective,
        "seed": settings.seed,
        "steps": taken if best is None else best.step,
        "validation": None if best is None else best.validation,
        "test": None if test is None else test["trained"][0],
        "test of the base": None if test is None else test["base"][0],
    }
    _write(trainer, model, base, adapter, folder, facts)
    parameters = sum(tensor.numel() for tensor in journal.best.values())
    return {"parameters": parameters, "steps": taken, "test": test}


def _write(
    trainer: Any,
    model: LanguageModel,
    base: Checkpoint,
    adapter: Adapter,
    folder: Path,
    facts: Mapping[str, Fact],
) -> None:
    """Write what was trained in its own format."""
    if isinstance(adapter, Svf):
        expert = expert_from_peft(trainer.model, names=model.name_on_disk, facts=facts)
        save_expert(expert, folder / EXPERT_NAME, overwrite=True)
    elif isinstance(adapter, Full):
        tensors = Checkpoint.from_tensors(dict(model.places), copy=False)
        save(tensors, folder / MODEL_NAME, config=base.config, overwrite=True)
        model.tokens.tokenizer.save_pretrained(str(folder / MODEL_NAME))
    else:
        trainer.model.save_pretrained(str(folder / ADAPTER_NAME), save_embedding_layers=False)


def _compared(
    trainer: Any, model: LanguageModel, base: Checkpoint, test: GenerativeTask
) -> dict[str, tuple[float, ...]]:
    """Scores of the base and of the model as it is, on the test samples."""
    after = _scores(model, test)
    if hasattr(trainer.model, "disable_adapter"):
        with trainer.model.disable_adapter():
            before = _scores(model, test)
    else:
        before = _scores(load(base, dtype=model.dtype, device=str(model.device)), test)
    found = (mean_interval(before), mean_interval(after), difference_interval(after, before))
    return dict(zip(("base", "trained", "change"), found, strict=True))


def _scores(model: LanguageModel, task: GenerativeTask) -> Float[np.ndarray, " samples"]:
    with evaluating(model.module):
        return task.score(model, np.arange(len(task.samples)))


def _generative(split: str, task: Any) -> GenerativeTask | None:
    if task is None or isinstance(task, GenerativeTask):
        return task
    raise TaskError(
        f"Expected a task whose answers are written and graded, but {task.name} ({split}) is a "
        f"{type(task).__name__}. Take a file of questions with a scorer such as `exact` or `numeric`."
    )


def _identity(
    base: Checkpoint,
    parts: Mapping[str, GenerativeTask | None],
    adapter: Adapter,
    settings: Training,
    dtype: str | None,
) -> dict[str, Any]:
    """What makes a training what it is."""
    return {
        "base": {"name": base.source, "digest": str(base.digest), "dtype": dtype},
        "task": {
            name: None if task is None else {"name": task.name, "digest": task.digest}
            for name, task in parts.items()
        },
        "adapter": adapter_facts(adapter),
        "settings": asdict(settings),
    }


def _result(folder: Path, kind: str, found: Mapping[str, Any]) -> Trained:
    rows = read_history(folder, until=found["steps"])
    test = found["test"]
    scores = None if test is None else TestScores(**{key: Interval(*value) for key, value in test.items()})
    return Trained(folder, kind, found["parameters"], rows, best_look(rows), scores)
