"""What a router learns from: texts of requests, who solved what, and which split each is in.

As a file it is JSON lines, one for each expert and sample, as `merganser evaluate --samples` writes them: `model`,
`question`, `score`, `split`, and `response`, which is empty where there was no valid answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from merganser._errors import ConfigError, TaskError
from merganser._text_file import read_text
from merganser.evaluation import ScoreMatrix, content_hashes

_HELD_OUT = ("search", "validation", "test")
"""Splits; where one text is in several, the last of these wins."""


class Row(NamedTuple):
    """One expert on one request.

    Attributes:
        expert: Name of the expert.
        text: The request.
        score: In [0, 1].
        split: `search`, `validation`, `test`, or `all` where nobody has divided.
        answered: Whether the contract was kept.
        task: Where the request comes from.
    """

    expert: str
    text: str
    score: float
    split: str = "all"
    answered: bool = True
    task: str = ""


@dataclass(frozen=True)
class RoutingData:
    """Requests and what experts made of them; samples are in the order of their hashes.

    Attributes:
        texts: The requests.
        splits: Split of each.
        tasks: Task of each.
        matrix: Experts x samples; a sample's hash is that of its text.
        answered: Where the contract was kept; False where it was not measured.
    """

    texts: tuple[str, ...]
    splits: tuple[str, ...]
    tasks: tuple[str, ...]
    matrix: ScoreMatrix
    answered: Bool[np.ndarray, "experts samples"]

    @classmethod
    def of(cls, rows: Iterable[Row], experts: Sequence[str]) -> RoutingData:
        """Data from rows; those of other experts are left out, of two of one expert on one text the later counts.

        Raises:
            TaskError: If no row is left, or a score lies outside [0, 1].
        """
        kept: dict[tuple[str, str], Row] = {}
        splits: dict[str, str] = {}
        tasks: dict[str, str] = {}
        for row in rows:
            if row.expert in experts:
                kept[row.text, row.expert] = row
                splits[row.text] = _later(splits.get(row.text), row.split)
                tasks[row.text] = tasks.get(row.text) or row.task
        if not kept:
            raise TaskError(
                f"There are no scores of {', '.join(experts)}: a router has nothing to learn from."
            )
        texts = sorted(splits, key=text_hash)
        shape = (len(experts), len(texts))
        scores, measured, answered = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
        place = {text: j for j, text in enumerate(texts)}
        for (text, expert), row in kept.items():
            at = experts.index(expert), place[text]
            scores[at], measured[at], answered[at] = row.score, True, row.answered
        hashes = tuple(map(text_hash, texts))
        try:
            matrix = ScoreMatrix(tuple(experts), hashes, scores, measured)
        except ValueError as error:
            raise TaskError(str(error)) from error
        return cls(
            tuple(texts), tuple(splits[t] for t in texts), tuple(tasks[t] for t in texts), matrix, answered
        )

    def __len__(self) -> int:
        return len(self.texts)

    def part(self, *splits: str) -> RoutingData:
        """The samples of some splits."""
        return self.where(np.array([split in splits for split in self.splits], dtype=bool))

    def where(self, mask: Bool[np.ndarray, " samples"]) -> RoutingData:
        """Some of the samples."""
        kept = np.flatnonzero(mask)

        def some(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[i] for i in kept)

        scores, measured = self.matrix.scores[:, kept], self.matrix.measured[:, kept]
        matrix = ScoreMatrix(self.matrix.models, some(self.matrix.samples), scores, measured)
        return RoutingData(
            some(self.texts), some(self.splits), some(self.tasks), matrix, self.answered[:, kept]
        )

    def divided(self, fraction: float = 0.2, seed: int = 0) -> RoutingData:
        """The same with samples of the split `all`, or of search where there is no validation, divided by hash.

        Raises:
            TaskError: If search or validation would be empty.
        """
        if "validation" in self.splits:
            free = np.array([split == "all" for split in self.splits], dtype=bool)
        else:
            free = np.array([split in ("all", "search") for split in self.splits], dtype=bool)
        lots = {h: _lot(h, seed) for h in np.array(self.matrix.samples)[free]}
        held_out = set(sorted(lots, key=lots.__getitem__)[: round(fraction * len(lots))])
        splits = tuple(
            ("validation" if h in held_out else "search") if is_free else split
            for h, split, is_free in zip(self.matrix.samples, self.splits, free, strict=True)
        )
        for name in ("search", "validation"):
            if name not in splits:
                raise TaskError(f"The {name} split of {len(self)} requests is empty. Give more of them.")
        return RoutingData(self.texts, splits, self.tasks, self.matrix, self.answered)

    def rows(self) -> Iterator[Row]:
        """What was measured, sample by sample."""
        for j, text in enumerate(self.texts):
            for i, expert in enumerate(self.matrix.models):
                if self.matrix.measured[i, j]:
                    score, answered = float(self.matrix.scores[i, j]), bool(self.answered[i, j])
                    yield Row(expert, text, score, self.splits[j], answered, self.tasks[j])

    @cached_property
    def digest(self) -> str:
        """Hash over everything."""
        return hashlib.blake2b(json.dumps(list(self.rows())).encode(), digest_size=16).hexdigest()


def text_hash(text: str) -> str:
    """Hash of a request, as samples of a router are known by."""
    return content_hashes([text.encode()])[0]


def write_rows(data: RoutingData) -> str:
    """Data as JSON lines."""
    lines = (
        {
            "model": row.expert,
            "task": row.task,
            "split": row.split,
            "question": row.text,
            "response": "answered" if row.answered else "",
            "score": row.score,
        }
        for row in data.rows()
    )
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def read_rows(path: str | Path, names: Mapping[str, str] | None = None) -> list[Row]:
    """Rows of a file of JSON lines.

    Args:
        path: The file.
        names: Other names of experts: by what the file calls them.

    Raises:
        ConfigError: If it cannot be read, or a line is no such row.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows.append(_row(json.loads(line), names or {}))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}, line {number}: expected a JSON object with model, question and score, as `merganser "
                f"evaluate --samples` writes them: {type(error).__name__} {error}."
            ) from error
    return rows


def _row(read: dict[str, Any], names: Mapping[str, str]) -> Row:
    expert = str(read["model"])
    split = str(read.get("split", "all"))
    if split not in (*_HELD_OUT, "all"):
        raise ValueError(f"unknown split {split!r}")
    answered = bool(str(read.get("response", "answered")).strip())
    return Row(
        names.get(expert, expert),
        str(read["question"]),
        float(read["score"]),
        split,
        answered,
        str(read.get("task", "")),
    )


def _later(known: str | None, split: str) -> str:
    order = ("all", *_HELD_OUT)
    return split if known is None else max(known, split, key=order.index)


def _lot(sample: str, seed: int) -> bytes:
    return hashlib.blake2b(f"route {seed} {sample}".encode()).digest()
