"""lm-eval's splits as search, validation and test.

| the task has | search | validation | test |
| --- | --- | --- | --- |
| training, validation and test documents | training | validation | test |
| one kind beside what lm-eval scores | four fifths of it, by content | one fifth | what lm-eval scores |
| only what lm-eval scores | divided by content, with a notice | | |

What lm-eval scores are the test documents or, without any, the validation documents. A content that is tested on is
neither searched nor validated on. The examples shown before a question are scored nowhere in the same column, and
those of search and validation are not tested on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from merganser._errors import TaskError
from merganser.evaluation._splits import SplitRule, chosen
from merganser.evaluation.lm_eval._documents import Document, Documents, apart, draw, hashes_of, without
from merganser.evaluation.lm_eval._settings import LmEvalSettings

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask


@dataclass(frozen=True)
class Part:
    """Some of the documents of a kind.

    Attributes:
        documents: The documents.
        taken: Which of them.
    """

    documents: Documents
    taken: Bool[np.ndarray, " documents"]

    @property
    def contents(self) -> frozenset[str]:
        """Hashes of what is taken."""
        return frozenset(np.array(self.documents.hashes, dtype=object)[self.taken])

    def without(self, contents: Iterable[str]) -> Part:
        """The part less what has these contents."""
        known = frozenset(contents)
        inside = np.array([h in known for h in self.documents.hashes], dtype=bool)
        return replace(self, taken=self.taken & ~inside)


@dataclass(frozen=True)
class Division:
    """The documents of one task, divided.

    Attributes:
        search: What is searched on.
        validation: What the winner is chosen on, or None.
        test: What is scored at the end.
        notices: What the user should know.
        dropped: Documents that are in no part because their content is in a later one.
    """

    search: Part
    validation: Part | None
    test: Part
    notices: tuple[str, ...] = ()
    dropped: int = 0

    def without(self, validated: Iterable[str], tested: Iterable[str]) -> Division:
        """What stays where others validate and test on these contents, too."""
        tested = frozenset(tested)
        search = self.search.without(tested.union(validated))
        validation = None if self.validation is None else self.validation.without(tested)
        before = [self.search, *([] if self.validation is None else [self.validation])]
        after = [search, *([] if validation is None else [validation])]
        lost = sum(int(p.taken.sum()) for p in before) - sum(int(p.taken.sum()) for p in after)
        return replace(self, search=search, validation=validation, dropped=self.dropped + lost)


def divide(task: ConfigurableTask, settings: LmEvalSettings, rule: SplitRule) -> Division:
    """Divide the documents of a task.

    Args:
        task: lm-eval's task.
        settings: How it is asked; `limit` cuts every part.
        rule: The fractions where something has to be divided, and the preset.

    Raises:
        TaskError: If a part would be empty, or there are too few documents for examples.
    """
    scored = _listed(task.eval_docs)[: settings.limit]
    pool = _listed(task.sampler.df) if task.config.num_fewshot else []
    kept, shown = apart(task, scored, pool)
    notices = [_shown_notice(task, len(shown), same_pool=len(kept) == len(pool))] if shown else []
    own = draw(task, scored, kept, settings)
    everything = Part(own, np.ones(len(scored), dtype=bool)).without(shown)
    training, held_out = _development(task)
    if not training and not held_out:
        notices.append(
            f"{task.config.task} has no documents but those that lm-eval scores. They are divided by their content; "
            "what is tested on here is a part of what lm-eval reports on."
        )
        search, test = _divided(everything, rule.test, f"test {rule.seed}", rule)
        return _with_validation(search, test, rule, tuple(notices))
    search, validation, dropped = _from_development(
        task, settings, rule, (training, held_out), (scored, pool)
    )
    return Division(search, validation, everything, tuple(notices), dropped)


def _from_development(
    task: ConfigurableTask,
    settings: LmEvalSettings,
    rule: SplitRule,
    development: tuple[list[Document], list[Document]],
    tested: tuple[list[Document], list[Document]],
) -> tuple[Part, Part | None, int]:
    """Search, validation and the number of documents left out, from what is not tested on."""
    scored, pool = tested
    test_contents = frozenset(hashes_of(scored))
    training, held_out = (without(documents, test_contents) for documents in development)
    dropped = sum(map(len, development)) - len(training) - len(held_out)
    documents = [*training, *held_out]
    kept, shown = apart(task, documents, without(pool, test_contents) or documents)
    drawn = draw(task, documents, kept, settings)
    is_training = np.arange(len(documents)) < len(training)
    both = bool(training) and bool(held_out) and rule.preset == "default"
    if both:
        validation = _limited(Part(drawn, ~is_training).without(shown), settings, rule)
        search = Part(drawn, is_training).without(shown | validation.contents)
        return _limited(search, settings, rule), validation, dropped
    part = _limited(Part(drawn, np.ones(len(documents), dtype=bool)).without(shown), settings, rule)
    if rule.preset == "paper":
        return part, None, dropped
    search, validation = _divided(part, rule.validation, f"validation {rule.seed}", rule)
    return search, validation, dropped


def _development(task: ConfigurableTask) -> tuple[list[Document], list[Document]]:
    """Training documents, and validation documents unless lm-eval scores these."""
    training = _listed(task.training_docs()) if task.has_training_docs() else []
    held_out = _listed(task.validation_docs()) if task.has_validation_docs() and task.has_test_docs() else []
    return training, held_out


def _listed(documents: Any) -> list[Document]:
    return list(documents)


def _with_validation(rest: Part, test: Part, rule: SplitRule, notices: tuple[str, ...]) -> Division:
    if rule.preset == "paper":
        return Division(rest, None, test, notices)
    search, validation = _divided(rest, rule.validation, f"validation {rule.seed}", rule)
    return Division(search, validation, test, notices)


def _divided(part: Part, fraction: float, key: str, rule: SplitRule) -> tuple[Part, Part]:
    """What stays, and what a fraction of the contents takes; in the paper's preset the last ones in order."""
    at = np.flatnonzero(part.taken)
    if rule.preset == "paper":
        inside = np.arange(len(at)) >= int((1 - fraction) * len(at))
    else:
        inside = chosen(tuple(part.documents.hashes[i] for i in at), fraction, key)
    away = np.zeros_like(part.taken)
    away[at[inside]] = True
    return replace(part, taken=part.taken & ~away), replace(part, taken=away)


def _limited(part: Part, settings: LmEvalSettings, rule: SplitRule) -> Part:
    """At most as many contents as the limit says, chosen by content."""
    count = len(part.contents)
    if settings.limit is None or count <= settings.limit:
        return part
    return _divided(part, settings.limit / count, f"limit {rule.seed}", SplitRule())[1]


def _shown_notice(task: ConfigurableTask, count: int, *, same_pool: bool) -> str:
    name = task.config.task
    if same_pool:
        return f"{count} contents of {name} are among its examples too, and are not scored."
    return (
        f"{name} draws its examples from the documents that it scores. {count} of them are set apart as examples and "
        "not scored, so scores differ a little from what lm-eval reports."
    )


def check_not_empty(name: str, parts: Sequence[tuple[str, Part | None]]) -> None:
    """Make sure that each part has documents.

    Raises:
        TaskError: If one has none.
    """
    for split, part in parts:
        if part is not None and not part.taken.any():
            raise TaskError(
                f"The {split} split of {name} is empty: there are too few documents, or too many are in a later split "
                "too. Give more data, other fractions, or fewer examples."
            )
