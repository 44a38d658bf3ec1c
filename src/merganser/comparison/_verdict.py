"""What to do with two models: the rules, in the order in which they are asked.

| what is known | verdict | how sure |
| --- | --- | --- |
| blocks do not fit | route if both are made of tokens, else keep apart | likely |
| all weights are equal | keep apart: there is nothing to merge | sure |
| the same numbers in another order | align first | sure |
| unrelated weights | align first | a guess |
| a barrier was measured, and is high | route | sure |
| relatives, their representations or their largest changes have little in common | route, or else merge | likely |
| a barrier was measured, and is low | merge, by an average | sure |
| relatives that have much in common | merge, by the length of task vectors | likely |
| relatives, of which one figure says much and the other little | merge | a guess |
| relatives of which neither is known | merge, by an average | likely |
| it cannot be told | merge, by an average | a guess |

Settings that differ although the shapes fit make a verdict to merge that was not measured a guess. Numbers come from
[`THRESHOLDS`][] only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from merganser.comparison._barrier import Barrier
from merganser.comparison._differences import Differences
from merganser.comparison._geometry import plain
from merganser.comparison._parentage import Kin
from merganser.comparison._representations import Representations
from merganser.comparison._thresholds import limit

Action = Literal["merge", "align first", "route", "keep apart"]
Confidence = Literal["sure", "likely", "a guess"]

_AVERAGE = ("linear", "slerp")
_SHORT = ("ties", "linear", "model_stock")
_LONG = ("model_stock", "linear")

_ROUTED = "Of such pairs a merge was better than each model, and a router that knows the task better still."
_MERGED = "Of such pairs a router had hardly more than a merge."


class TaskVectors(NamedTuple):
    """Two task vectors beside each other, over all tensors.

    Args:
        cosine: Their cosine; None if one is zero.
        opposite: Share of the weight on opposite signs, in [0, 1]; None if one is zero.
        overlap: Overlap of their largest entries by share; 0.1 stands for 10 %.
        relative: Length of each beside the base.
    """

    cosine: float | None
    opposite: float | None
    overlap: Mapping[float, float]
    relative: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """As plain data; None where a number is undefined."""
        return {name: plain(value) for name, value in self._asdict().items()} | {
            "relative": plain(list(self.relative))
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of two models.

    Args:
        differences: Of architecture and tokens.
        kin: How their weights stand to each other; None if their blocks do not fit.
        from_base: How each stands to the base; None without one.
        task_vectors: Their differences from the base; None without one.
        likely_base: Which other of the models looks like their base, if none was named.
        barrier: What is lost between them; None if it was not measured.
        unmeasured: Why it could not be, where it was asked for.
        cka: How alike their representations are on data; None if it was not measured.
    """

    differences: Differences
    kin: Kin | None = None
    from_base: tuple[Kin, Kin] | None = None
    task_vectors: TaskVectors | None = None
    likely_base: str | None = None
    barrier: Barrier | None = None
    unmeasured: str | None = None
    cka: Representations | None = None

    @property
    def has_base(self) -> bool:
        """Whether both descend from the base."""
        return self.from_base is not None and all(
            kin.kinship in ("related", "same") for kin in self.from_base
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with two models.

    Args:
        action: The recommendation.
        methods: Which methods to merge by, the first choice first: of models to be routed, if there must be one model;
            empty if not to merge.
        confidence: How sure it is.
        evidence: What it rests on, a line each.
    """

    action: Action
    methods: tuple[str, ...]
    confidence: Confidence
    evidence: tuple[str, ...]

    @property
    def words(self) -> str:
        """Action and methods, as one says them."""
        if not self.methods:
            return self.action
        by = f"by {', '.join(self.methods)}"
        return f"merge {by}" if self.action == "merge" else f"{self.action}, or else merge {by}"

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "words": self.words}


def judge(known: Evidence) -> Verdict:
    """Recommend what to do with two models.

    Args:
        known: What is known of them.
    """
    found = _by_build(known) or _by_measurement(known) or _by_weights(known)
    settings = known.differences.settings
    if found.action == "merge" and settings and found.confidence != "sure":
        doubt = f"Shapes fit, but settings differ: {'; '.join(map(str, settings))}."
        found = replace(found, confidence="a guess", evidence=(*found.evidence, doubt))
    return replace(found, evidence=(*found.evidence, *_remarks(known)))


def _by_build(known: Evidence) -> Verdict | None:
    """What follows from architectures, and from weights that no task needs to be asked about."""
    kin, tokens = known.kin, known.differences.tokens
    if kin is None:
        why = known.differences.misfit or "Their tensors do not fit."
        if tokens is None:
            alone = "Neither text nor weights are known to connect them."
            return Verdict("keep apart", (), "likely", (why, alone))
        return Verdict(
            "route", (), "likely", (why, "Both read and write text, so they can work side by side.")
        )
    if kin.kinship == "same":
        return Verdict("keep apart", (), "sure", ("All weights are equal: a merge would be the same model.",))
    if kin.kinship == "reordered":
        why = "Their matrices hold the same numbers in another order: one is a permuted copy of the other."
        return Verdict("align first", (), "sure", (why, _cosine(kin)))
    return None


def _by_measurement(known: Evidence) -> Verdict | None:
    """What follows from a barrier that was measured, if it says enough."""
    if known.barrier is None or known.kin is None:
        return None
    height = known.barrier.height
    if height.low > limit("barrier"):
        if known.kin.kinship == "unrelated":
            return None
        return Verdict("route", (), "sure", (_height(known.barrier), _cosine(known.kin)))
    if height.high <= limit("barrier") and not (known.kin.kinship == "related" and _is_apart(known)):
        return Verdict(
            "merge", _methods(known), "sure", (_height(known.barrier), _cosine(known.kin), *_shared(known))
        )
    return None


def _by_weights(known: Evidence) -> Verdict:
    """What the weights alone suggest."""
    assert known.kin is not None
    evidence: tuple[str, ...] = (
        _cosine(known.kin),
        *(() if known.barrier is None else (_height(known.barrier),)),
    )
    if known.kin.kinship == "unrelated":
        advice = "They may be one network up to a permutation of its neurons; if no alignment helps, route."
        return Verdict("align first", (), "a guess", (*evidence, advice))
    if known.kin.kinship == "cannot tell":
        advice = "Related in part, or trained far away: measure before you trust a merge (`--task`)."
        return Verdict("merge", _AVERAGE, "a guess", (*evidence, advice))
    shared = _shared(known) or (_without_base(known),)
    apart, evidence, methods = _is_apart(known), (*evidence, *shared), _methods(known)
    if apart is None:
        return Verdict("merge", methods, "likely", evidence)
    if len(set(_signs(known))) > 1:
        return Verdict(
            "merge", methods, "a guess", (*evidence, "These say different things: measure (`--task`).")
        )
    if apart:
        return Verdict("route", methods, "likely", (*evidence, _ROUTED))
    return Verdict("merge", methods, "likely", (*evidence, _MERGED))


def _signs(known: Evidence) -> list[bool]:
    """What each calibrated figure says of whether two models have too little in common for a merge."""
    signs, vectors = [], _vectors(known)
    if vectors is not None and 0.1 in vectors.overlap:
        signs.append(vectors.overlap[0.1] < limit("apart"))
    if known.cka is not None and not math.isnan(known.cka.lowest.cka.value):
        signs.append(known.cka.lowest.cka.value < limit("unlike"))
    return signs


def _is_apart(known: Evidence) -> bool | None:
    """Whether all that is known says that they have too little in common; None if nothing is known."""
    signs = _signs(known)
    return all(signs) if signs else None


def _methods(known: Evidence) -> tuple[str, ...]:
    """What to merge relatives by."""
    vectors = _vectors(known)
    if vectors is None:
        return _AVERAGE
    return _SHORT if max(vectors.relative) < limit("short") else _LONG


def _vectors(known: Evidence) -> TaskVectors | None:
    """The task vectors, where both models descend from the base and neither is the base itself."""
    vectors = known.task_vectors
    return vectors if vectors is not None and vectors.cosine is not None and known.has_base else None


def _shared(known: Evidence) -> tuple[str, ...]:
    """What two task vectors have in common, in words."""
    vectors = _vectors(known)
    if vectors is None:
        return ()
    cosine, opposite, overlap = vectors.cosine or 0.0, vectors.opposite or 0.0, vectors.overlap.get(0.1, 0.0)
    return (
        f"Task vectors have cosine {round(cosine, 2) + 0.0:.2f}; {opposite:.0%} of their common weight is on opposite "
        f"signs; {overlap:.1%} of their largest tenths overlap (by chance 5.3%).",
    )


def _without_base(known: Evidence) -> str:
    if known.likely_base is not None:
        return f"{known.likely_base} looks like their base: named with `--base`, more can be said."
    if known.from_base is None:
        return "With the model that they were tuned from (`--base`), more could be said."
    if not known.has_base:
        return "The base that was named is not the base of both."
    return "One of them is the base itself."


def _remarks(known: Evidence) -> tuple[str, ...]:
    tokens, is_read = known.differences.tokens, known.kin is not None
    remarks = []
    if tokens is not None and not tokens.is_same and is_read:
        remarks.append(
            "Their tokens differ: merge with `--tokenizer union`, or the tokenizer of one of them."
        )
    if known.unmeasured is not None:
        remarks.append(f"What is lost between them could not be measured: {known.unmeasured}")
    if known.cka is not None:
        remarks.append(f"Representations: {known.cka.words}.")
    return tuple(remarks)


def _cosine(kin: Kin) -> str:
    if kin.cosine is None:
        return "No matrix is large enough to tell how the weights are related."
    return f"Weights are {kin.kinship}: median cosine {kin.cosine:.3f} over {kin.matrices} matrices."


def _height(barrier: Barrier) -> str:
    value, low, high = barrier.height
    return f"Between them {value:+.3f} of the score is lost ({low:+.3f} to {high:+.3f})."
