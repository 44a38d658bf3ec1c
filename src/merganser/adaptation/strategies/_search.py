r"""Few-shot search for a mixture: the weights $\alpha$ of experts under which a few examples are answered best.

| | here | in the published code |
| --- | --- | --- |
| what is mixed | gains, after the sigmoid; what $\alpha$ lacks to 1 is the base | logits |
| first generation | base, each expert, the uniform mix, given weights; then drawn | drawn |
| equal scores | log-probability of the right answers a token | of the own correct answers a token |
| that decides about | the elites and the best | the best |
| the reported score | held-out samples, scored once at the end | the rest of the test set, best of several looks |

Right answers are the same texts for all candidates, and there are some where nothing was answered right. All candidates
of a generation are computed in the same batches, each row with its own scales. The same candidate is not scored twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float

from merganser.adaptation.strategies._cem import ask, begin, tell
from merganser.adaptation.strategies._chorus import mark_voices
from merganser.adaptation.strategies._found import (
    Generation,
    MixtureFound,
    MixtureSearch,
    Standing,
    Stopped,
)
from merganser.adaptation.strategies._model import AdaptiveModel
from merganser.adaptation.strategies._strategies import Mixture
from merganser.evaluation import Chosen, mean_interval

_TIE = 1e-3
"""Nats a token from which a better tie-breaker counts as an improvement."""


def search_mixture(
    model: AdaptiveModel,
    shots: Chosen,
    held_out: Chosen | None = None,
    settings: MixtureSearch = MixtureSearch(),
    *,
    experts: Sequence[str] | None = None,
    watch: Callable[[Generation], None] | None = None,
) -> MixtureFound:
    """Search the weights of a model's experts; the model's strategy stays what it is.

    Args:
        model: The model.
        shots: Samples to search on.
        held_out: Samples to score on at the end, none of the shots among them.
        settings: How to search.
        experts: Names of those that are mixed; by default all but a dispatcher.
        watch: Called after each generation.

    Raises:
        ValueError: If there are no shots, some of them are held out, or there is no expert of a name.
        NonFiniteOutputError: If a mixture's output is NaN or infinite.
    """
    if not len(shots):
        raise ValueError("Expected at least one shot to search on, found none. Give examples with answers.")
    if held_out is not None and (shared := len(_hashes(shots) & _hashes(held_out))):
        raise ValueError(f"{shared} of the held-out samples are among the shots. Hold others out.")
    begun = time.perf_counter()
    search = _Search(model, shots, settings, tuple(model.descriptions if experts is None else experts))
    stopped = search.run(watch)
    best = search.mixture(search.best)
    standings = search.standings(best, held_out)
    return MixtureFound(
        best,
        standings,
        tuple(search.history),
        stopped,
        len(shots),
        0 if held_out is None else len(held_out),
        time.perf_counter() - begun,
    )


class _Search:
    """The search while it runs."""

    def __init__(
        self, model: AdaptiveModel, shots: Chosen, settings: MixtureSearch, experts: tuple[str, ...]
    ) -> None:
        if not experts:
            raise ValueError("Expected at least one expert to mix, found none.")
        self._model, self._shots, self._settings, self._experts = model, shots, settings, experts
        vectors = model.vectors
        if lacking := [name for name in experts if name not in vectors]:
            raise ValueError(f"There is no expert {lacking[0]!r}; there are: {', '.join(vectors)}.")
        matrices = dict.fromkeys(matrix for name in experts for matrix in vectors[name])
        self._matrices = tuple(matrices) if settings.per_matrix else ()
        self._known: dict[bytes, tuple[float, float]] = {}
        self.history: list[Generation] = []
        self.best: Float[np.ndarray, " genes"] = self._same(np.zeros(len(experts)))

    def mixture(self, genes: Float[np.ndarray, " genes"]) -> Mixture:
        """The mixture of a candidate."""
        rows = genes.reshape(-1, len(self._experts)).tolist()
        if not self._matrices:
            return Mixture(self._experts, tuple(rows[0]))
        return Mixture(self._experts, {m: tuple(row) for m, row in zip(self._matrices, rows, strict=True)})

    def run(self, watch: Callable[[Generation], None] | None) -> Stopped:
        """Search until a reason to stop; gives it."""
        settings, waited = self._settings, 0
        count = len(self._experts)
        state = begin(self._same(np.full(count, 1 / count)), settings.cem)
        starts = self._starts()
        while True:
            candidates = ask(state, settings.cem, starts)
            starts = []
            before = self._known.get(self.best.tobytes(), (-1.0, 0.0))
            candidates = self._affordable(candidates)
            marks = self._marked(candidates)
            order = sorted(range(len(candidates)), key=lambda k: marks[k], reverse=True)
            state = tell(state, settings.cem, candidates, order)
            self._note(candidates, marks, order[0])
            if watch is not None:
                watch(self.history[-1])
            score, tie = marks[order[0]]
            if score >= 1.0:
                return "all right"
            improved = score > before[0] or (score == before[0] and tie > before[1] + _TIE)
            waited = 0 if improved else waited + 1
            if waited >= settings.patience:
                return "nothing improves"
            if len(self._known) >= settings.budget:
                return "budget"

    def standings(self, best: Mixture, held_out: Chosen | None) -> tuple[Standing, ...]:
        """The best, each expert, the uniform mix and the base, on the shots and on what was held out."""
        count = len(self._experts)
        mixed = [best, Mixture(self._experts, (1 / count,) * count)]
        with self._voiced(mixed) as (chosen, uniform):
            asked: list[tuple[str, str | None]] = [
                ("mixture", chosen),
                *((name, name) for name in self._experts),
                ("uniform", uniform),
            ]
            asked.append(("base", None))
            voices = [voice for _, voice in asked]
            on_shots = mark_voices(self._model, voices, self._shots)
            held = None if held_out is None else mark_voices(self._model, voices, held_out)
        return tuple(
            Standing(
                name,
                float(on_shots[k].scores.mean()),
                None if held is None else mean_interval(held[k].scores),
            )
            for k, (name, _) in enumerate(asked)
        )

    def _same(self, weights: Float[np.ndarray, " experts"]) -> Float[np.ndarray, " genes"]:
        """The candidate with these weights for all matrices."""
        return np.tile(weights, max(1, len(self._matrices)))

    def _starts(self) -> list[Float[np.ndarray, " genes"]]:
        count = len(self._experts)
        plain = [np.zeros(count), *np.eye(count), np.full(count, 1 / count)]
        return [*map(self._same, plain), *map(self._genes, self._settings.starts)]

    def _genes(self, start: Mixture) -> Float[np.ndarray, " genes"]:
        """A mixture that was given, as a candidate."""

        def row(weights: Sequence[float]) -> list[float]:
            by_name = dict(zip(start.experts, weights, strict=True))
            return [by_name.get(name, 0.0) for name in self._experts]

        if unknown := [name for name in start.experts if name not in self._experts]:
            raise ValueError(
                f"A mixture to start from has an expert {unknown[0]!r}; mixed are {', '.join(self._experts)}."
            )
        if not isinstance(start.weights, Mapping):
            return self._same(np.array(row(start.weights)))
        if set(start.weights) != set(self._matrices):
            raise ValueError(
                f"A mixture to start from has weights for {len(start.weights)} matrices, but {len(self._matrices)} "
                "have weights of their own here. Search `per_matrix` over the same experts, or give one weight each."
            )
        return np.array([row(start.weights[matrix]) for matrix in self._matrices]).ravel()

    def _affordable(self, candidates: Float[np.ndarray, "all genes"]) -> Float[np.ndarray, "some genes"]:
        """Candidates that are known, and as many others as the budget allows."""
        left = self._settings.budget - len(self._known)
        kept: list[int] = []
        new: set[bytes] = set()
        for k, candidate in enumerate(candidates):
            key = candidate.tobytes()
            if key in self._known or key in new or len(new) < left:
                kept.append(k)
                if key not in self._known:
                    new.add(key)
        return candidates[kept]

    def _marked(self, candidates: Float[np.ndarray, "candidates genes"]) -> list[tuple[float, float]]:
        """Mean score and tie-breaker of each candidate; those that are not known yet are asked."""
        keys = [candidate.tobytes() for candidate in candidates]
        new = {key: genes for key, genes in zip(keys, candidates, strict=True) if key not in self._known}
        if new:
            with self._voiced([self.mixture(genes) for genes in new.values()]) as voices:
                found = mark_voices(self._model, voices, self._shots, with_ties=True)
            marks = [(float(each.scores.mean()), each.tie) for each in found]
            self._known.update(zip(new, marks, strict=True))
        return [self._known[key] for key in keys]

    @contextmanager
    def _voiced(self, mixtures: Sequence[Mixture]) -> Iterator[list[str]]:
        """Mixtures as voices of the model, while the block runs."""
        names = [f"candidate {k}" for k in range(len(mixtures))]
        vectors = self._model.vectors
        for name, mixture in zip(names, mixtures, strict=True):
            self._model.adapted.add(name, mixture.vector(vectors))
        try:
            yield names
        finally:
            for name in names:
                self._model.adapted.remove(name)

    def _note(
        self,
        candidates: Float[np.ndarray, "candidates genes"],
        marks: Sequence[tuple[float, float]],
        first: int,
    ) -> None:
        self.best = candidates[first]
        weights = candidates.reshape(len(candidates), -1, len(self._experts)).mean(axis=(0, 1))
        mean = float(np.mean([score for score, _ in marks]))
        self.history.append(Generation(len(self._known), *marks[first], mean, tuple(weights.tolist())))


def _hashes(chosen: Chosen) -> set[str]:
    return {task.samples.hashes[i] for task, ids in chosen.parts for i in ids}
