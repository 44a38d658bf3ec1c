"""All ways to answer that verdicts suggest, measured side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Int

from merganser._errors import CheckpointError, ConfigError, RunError, TaskError
from merganser.comparison import Comparison, Tick, Watch
from merganser.decision._candidates import AVERAGE, Candidate, candidates_of
from merganser.decision._decision import KINDS, Decision, Kind, Option
from merganser.decision._routed import choices_of, experts_file, routing_data
from merganser.decision._scores import Asked, Row, Scored, Split, score
from merganser.evaluation import Stage
from merganser.merging import METHODS, merge, plan_merge
from merganser.routing import Opener
from merganser.routing.requests import RouterSettings, fit_router, save_router
from merganser.weights import Execution, open_checkpoint

MERGED, ROUTER = "merged", "router"


@dataclass
class Ways:
    """All ways to answer, scored one after the other.

    Args:
        references: The models, by what people call them.
        base: What they were tuned from, if it is known.
        asked: The samples, by split.
        folder: Where scores, router and a merge that is taken are written.
        seed: Seed of methods that draw.
        execution: How to read and compute.
        opener: Brings models to life.
        watch: Told how far the work is.
        notes: What somebody who decides should know; grows.
    """

    references: Mapping[str, str]
    base: str | None
    asked: Mapping[Split, Asked]
    folder: Path
    seed: int
    execution: Execution
    opener: Opener
    watch: Watch | None
    notes: list[str] = field(default_factory=list)

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
            of = "" if whole else f" of {' and '.join(self._names(candidate))}"
            name = self._free(f"{candidate.method}{of}")
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

    def _free(self, name: str) -> str:
        """A name for a way that no model has: folders are called `linear`, too."""
        return f"{name} (not the model)" if name in self.references else name

    def _scored(self, name: str) -> Scored:
        path = self.folder / "scores" / f"{quote(name, safe=' ')}.json"
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
            split: _picked([alone[name][split] for name in uses], each.tasks)
            for split, each in self.asked.items()
        }
        members = tuple(dict.fromkeys(uses))
        said = dict(zip(tasks, uses, strict=True))
        return [self._option(self._free("by contract"), "contract", members, rows, best, said)]

    def _router(
        self, alone: Mapping[str, Mapping[Split, Row]], best: Mapping[Split, Row], settings: RouterSettings
    ) -> list[Option]:
        """A router of requests, fitted to the search scores and written; none where it cannot be."""
        if len(alone) < 2:
            return []
        if self.asked["search"].texts is None:
            self.notes.append("Requests have no words, so no router was fitted.")
            return []
        try:
            router = fit_router(routing_data(alone, self.asked), settings)
        except (ConfigError, TaskError) as error:
            self.notes.append(f"No router was fitted: {error}")
            return []
        save_router(
            router,
            self.folder / ROUTER,
            experts=experts_file(list(alone), self.references, self.asked["search"]),
            overwrite=True,
        )
        choices = {split: choices_of(router, each.texts or ()) for split, each in self.asked.items()}
        rows: dict[Split, Row] = {
            split: _picked([alone[name][split] for name in router.experts], choices[split])
            for split in self.asked
        }
        shares = np.bincount(choices["test"], minlength=len(alone)) / len(choices["test"])
        uses = dict(zip(router.experts, map(float, shares), strict=True))
        return [self._option(self._free("router"), "router", tuple(alone), rows, best, uses)]

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


def _picked(rows: Sequence[Row], places: Int[np.ndarray, " samples"]) -> Row:
    """Of each sample the score in the row at its place."""
    return np.stack(rows)[places, np.arange(len(places))]


def _stages(watch: Watch | None) -> Callable[[Stage], None] | None:
    """Stages of an evaluation, told as a comparison tells its own."""
    if watch is None:
        return None
    return lambda stage: watch(Tick(f"scoring {stage.doing}", stage.done, stage.total, "samples"))
