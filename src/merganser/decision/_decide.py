"""Compare models, do what the verdicts say, and measure what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from merganser._errors import CheckpointError, ConfigError, RunError, TaskError
from merganser.comparison import Comparison, Data, Tick, View, Watch, compare, data_of
from merganser.decision._candidates import AVERAGE, Candidate, candidates_of
from merganser.decision._decision import KINDS, Decision, Kind, Option
from merganser.decision._scores import Asked, Row, Scored, Split, asked_of, score
from merganser.evaluation import GenerativeTask, Splits, Stage, together
from merganser.merging import METHODS, default_workers, merge, plan_merge
from merganser.routing import Opener
from merganser.routing.requests import (
    ExpertsFile,
    RequestRouter,
    RouterSettings,
    RoutingData,
    fit_router,
    parse_experts_file,
    save_router,
)
from merganser.routing.requests import Row as RoutedRow
from merganser.weights import Execution, atomic_write_text, open_checkpoint, short_names

ASKED, DECISION, MERGED, ROUTER = "asked.json", "decision.json", "merged", "router"
_VERSION = 1


class Decided(NamedTuple):
    """What was compared, and what to do.

    Attributes:
        comparison: How the models stand to each other.
        decision: What to do.
    """

    comparison: Comparison
    decision: Decision


def decide(
    models: Sequence[str | Path],
    tasks: Sequence[Splits],
    folder: str | Path,
    *,
    base: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    with_spectra: bool = False,
    data: Data | None = None,
    view: View | None = None,
    cache: str | Path | None = None,
    router: RouterSettings | None = None,
    execution: Execution | None = None,
    dtype: str | None = None,
    watch: Watch | None = None,
) -> Decided:
    """Compare models, carry out what the verdicts say, and say what to take.

    Work that was interrupted goes on when the same is asked for in the same folder.

    Args:
        models: References of two or more models.
        tasks: What they are for; each with validation and test samples, and counting as much as its weight says.
        folder: Where everything is written.
        base: The model they were tuned from, if it is known.
        limit: At most so many samples of each split of each task.
        seed: Seed of the limit, of methods that draw, and of the router.
        with_spectra: As `compare` takes it.
        data: Texts or arrays on which to compare representations; by default what the tasks ask.
        view: How they are looked at.
        cache: As `compare` takes it.
        router: How the router is fitted; by default a calibrated classifier over hashed n-grams.
        execution: How to read and compute.
        dtype: Element type to run language models in; by default theirs.
        watch: Told how far the work is.

    Raises:
        ValueError: If there are fewer than two models, two have one name, or there is no task.
        RunError: If the folder holds a decision about something else, or no model could be scored.
        CheckpointError: If a model cannot be read.
        TaskError: If a task has no validation or test samples.
        OutputError: If the folder cannot be written.
    """
    if not tasks:
        raise ValueError("A decision needs a task that models can be scored on; none was given.")
    references = _named([str(model) for model in models])
    base, execution = None if base is None else str(base), execution or Execution(default_workers())
    asked, folder = asked_of(tasks, limit=limit, seed=seed), Path(folder)
    _claim(folder, {"models": list(references.values()), "base": base, "seed": seed, "dtype": dtype}, asked)
    chosen = together(asked["search"].parts)
    comparison = compare(
        list(references.values()),
        base,
        with_spectra=with_spectra,
        chosen=chosen,
        data=data_of(chosen) if data is None else data,
        view=view,
        cache=cache,
        execution=execution,
        dtype=dtype,
        watch=watch,
    )
    comparison.save(folder)
    opener = Opener(device=execution.device, dtype=dtype)
    work = _Work(references, base, asked, folder, seed, execution, opener, watch, [])
    decision = work.decision(comparison, router or RouterSettings(seed=seed))
    atomic_write_text(folder / DECISION, json.dumps(decision.to_json(), indent=1) + "\n")
    return Decided(comparison, decision)


@dataclass
class _Work:
    """A decision in the making."""

    references: Mapping[str, str]
    base: str | None
    asked: Mapping[Split, Asked]
    folder: Path
    seed: int
    execution: Execution
    opener: Opener
    watch: Watch | None
    notes: list[str]

    def decision(self, comparison: Comparison, settings: RouterSettings) -> Decision:
        """All options, scored, and the one to take."""
        alone = self._alone()
        merges = self._merges(comparison)
        best = max(alone, key=lambda name: self.asked["validation"].mean(alone[name]["validation"]).value)
        options = [self._option(name, "model", (name,), rows, alone[best]) for name, rows in alone.items()]
        options += [
            self._option(name, "merge", tuple(self._names(candidate)), rows, alone[best])
            for name, (candidate, rows) in merges.items()
        ]
        options += self._contract(alone, alone[best])
        options += self._router(alone, alone[best], settings)
        by_score = sorted(options, key=lambda option: (-option.validation.value, KINDS.index(option.kind)))
        taken = by_score[0]
        if taken.kind == "merge":
            self._write(taken.name, merges[taken.name][0])
        test = self.asked["test"]
        oracle = test.mean(np.max([rows["test"] for rows in alone.values()], axis=0))
        samples = {split: len(each) for split, each in self.asked.items()}
        return Decision(tuple(options), taken.name, best, oracle, test.names, samples, tuple(self.notes))

    def _alone(self) -> dict[str, Mapping[Split, Row]]:
        """Scores of the models themselves.

        Raises:
            RunError: If none could be scored.
        """
        self.opener.known |= {name: open_checkpoint(reference) for name, reference in self.references.items()}
        found = {name: self._scored(name) for name in self.references}
        for name, each in found.items():
            if each.failed:
                self.notes.append(f"{name} could not be scored: {each.failed}")
        rows = {name: each.rows for name, each in found.items() if not each.failed}
        if not rows:
            raise RunError(f"No model could be scored. {self.notes[0]}")
        return rows

    def _merges(self, comparison: Comparison) -> dict[str, tuple[Candidate, Mapping[Split, Row]]]:
        """Merges that the verdicts suggest, with their scores."""
        places = {name: i for i, name in enumerate(comparison.models)}
        verdicts = {(places[pair.first], places[pair.second]): pair.verdict for pair in comparison.pairs}
        found = {}
        for candidate in candidates_of(len(places), verdicts):
            whole = len(candidate.members) == len(places)
            name = (
                candidate.method if whole else f"{candidate.method} of {' and '.join(self._names(candidate))}"
            )
            try:
                self.opener.known[name] = self._merged(candidate)
                scored = self._scored(name)
            except (CheckpointError, ValueError) as error:
                self.notes.append(f"{name} cannot be merged as it comes: {error}")
                continue
            if scored.failed:
                self.notes.append(f"{name} could not be scored: {scored.failed}")
            else:
                found[name] = (candidate, scored.rows)
        if not found:
            self.notes.append("No verdict says to merge, so nothing was merged.")
        else:
            self.notes.append(
                "Merges run as they come: `merganser merge --tune` and `merganser evolve` may find better ones."
            )
        return found

    def _merged(self, candidate: Candidate) -> Any:
        """A merge in memory, or its plan for a language model, which carries it out when it is scored."""
        models = [open_checkpoint(list(self.references.values())[i]) for i in candidate.members]
        base = self._base_for(candidate)
        opened = None if base is None else open_checkpoint(base)
        if self.asked["search"].texts is None:
            return merge(
                models, candidate.method, base=opened, seed=self.seed, workers=self.execution.workers
            )
        return plan_merge(models, candidate.method, base=opened, seed=self.seed)

    def _base_for(self, candidate: Candidate) -> str | None:
        """The base, for methods that take one; the average is that of the models alone."""
        takes_none = candidate.method == AVERAGE or METHODS[candidate.method].rule.base == "refused"
        return None if takes_none else self.base

    def _names(self, candidate: Candidate) -> list[str]:
        names = list(self.references)
        return [names[i] for i in candidate.members]

    def _scored(self, name: str) -> Scored:
        path = self.folder / "scores" / f"{name.replace('/', '-')}.json"
        return score(name, self.asked, self.opener, path, watch=_stages(self.watch))

    def _option(
        self,
        name: str,
        kind: Kind,
        members: tuple[str, ...],
        rows: Mapping[Split, Row],
        best: Mapping[Split, Row],
        uses: Mapping[str, Any] | None = None,
    ) -> Option:
        validation, test = self.asked["validation"], self.asked["test"]
        return Option(
            name,
            kind,
            members,
            validation.mean(rows["validation"]),
            test.mean(rows["test"]),
            None if rows is best else test.difference(rows["test"], best["test"]),
            dict(zip(test.names, test.by_task(rows["test"]), strict=True)),
            uses or {},
        )

    def _contract(self, alone: Mapping[str, Mapping[Split, Row]], best: Mapping[Split, Row]) -> list[Option]:
        """The best model of each task on search samples, for who knows the task of a request."""
        tasks = self.asked["search"].names
        if len(tasks) < 2:
            return []
        means = {name: self.asked["search"].by_task(rows["search"]) for name, rows in alone.items()}
        uses = [max(alone, key=lambda name, t=t: means[name][t]) for t in range(len(tasks))]
        rows: dict[Split, Row] = {
            split: np.choose(each.tasks, [alone[name][split] for name in uses])
            for split, each in self.asked.items()
        }
        members = tuple(dict.fromkeys(uses))
        said = dict(zip(tasks, uses, strict=True))
        return [self._option("by contract", "contract", members, rows, best, said)]

    def _router(
        self, alone: Mapping[str, Mapping[Split, Row]], best: Mapping[Split, Row], settings: RouterSettings
    ) -> list[Option]:
        """A router of requests, fitted to the search scores and written; none where it cannot be."""
        if len(alone) < 2 or self.asked["search"].texts is None:
            self.notes.append("Requests have no words, so no router was fitted.")
            return []
        try:
            router = fit_router(_routing_data(alone, self.asked), settings)
        except (ConfigError, TaskError) as error:
            self.notes.append(f"No router was fitted: {error}")
            return []
        save_router(router, self.folder / ROUTER, experts=self._experts(list(alone)), overwrite=True)
        choices = {split: _choices(router, each.texts or ()) for split, each in self.asked.items()}
        rows: dict[Split, Row] = {
            split: np.choose(choices[split], [alone[name][split] for name in router.experts])
            for split in self.asked
        }
        shares = np.bincount(choices["test"], minlength=len(alone)) / len(choices["test"])
        uses = dict(zip(router.experts, map(float, shares), strict=True))
        return [self._option("router", "router", tuple(alone), rows, best, uses)]

    def _experts(self, names: list[str]) -> ExpertsFile:
        """How the router's experts are asked: as the tasks ask, if all ask in one way; else the bare question."""
        prompts = {
            task.prompt.template if isinstance(task, GenerativeTask) else "{question}"
            for part in self.asked["search"].parts
            for task, _ in part.parts
        }
        contract: dict[str, Any] = {"kind": "question_answering"}
        if len(prompts) == 1 and (only := prompts.pop()).count("{") == only.count("{question}"):
            contract["prompt"] = only
        experts = [
            {"name": name, "model": self.references[name], "contract": "answer", "cost": 1} for name in names
        ]
        return parse_experts_file({"experts": experts, "contracts": {"answer": contract}})

    def _write(self, name: str, candidate: Candidate) -> None:
        """Write the merge that is taken."""
        merge(
            [list(self.references.values())[i] for i in candidate.members],
            candidate.method,
            base=self._base_for(candidate),
            seed=self.seed,
            workers=self.execution.workers,
            out=self.folder / MERGED,
            overwrite=True,
        )
        self.notes.append(f"{name} is written to `{MERGED}/`.")


def _stages(watch: Watch | None) -> Callable[[Stage], None] | None:
    """Stages of an evaluation, told as a comparison tells its own."""
    if watch is None:
        return None
    return lambda stage: watch(Tick(f"scoring {stage.doing}", stage.done, stage.total, "samples"))


def _named(references: Sequence[str]) -> dict[str, str]:
    """References by what people call them.

    Raises:
        ValueError: If there are fewer than two, or one is there twice.
    """
    if len(set(references)) < max(2, len(references)):
        raise ValueError(f"Expected two or more models, each once, found {', '.join(references) or 'none'}.")
    return {name: reference for reference, name in short_names(references).items()}


def _claim(folder: Path, facts: Mapping[str, Any], asked: Mapping[Split, Asked]) -> None:
    """Make a folder that of this decision, or make sure that it is."""
    tasks = {s: [t.digest for part in each.parts for t, _ in part.parts] for s, each in asked.items()}
    facts = {
        "version": _VERSION,
        **facts,
        "tasks": tasks,
        "samples": {split: len(each) for split, each in asked.items()},
    }
    path = folder / ASKED
    if path.is_file():
        if json.loads(path.read_text()) != facts:
            raise RunError(
                f"{folder} holds a decision about other models, tasks or samples. Name another folder, or ask for the "
                "same."
            )
        return
    if folder.exists() and any(folder.iterdir()):
        raise RunError(
            f"Expected an empty folder, or one of a decision that goes on, but {folder} is neither."
        )
    atomic_write_text(path, json.dumps(facts, indent=1) + "\n")


def _routing_data(alone: Mapping[str, Mapping[Split, Row]], asked: Mapping[Split, Asked]) -> RoutingData:
    rows = [
        RoutedRow(name, text, float(value), split, task=each.names[t])
        for split, each in asked.items()
        if split != "test"
        for name, scores in alone.items()
        for text, value, t in zip(each.texts or (), scores[split], each.tasks, strict=True)
    ]
    return RoutingData.of(rows, list(alone))


def _choices(router: RequestRouter, texts: Sequence[str]) -> np.ndarray:
    """Which expert is asked first about each text."""
    return router.rule.order(router.predict(texts), router.costs)[:, 0]
