r"""Runs whose models are experts of a few kilobytes: opened, made to fit each other, and brought to life.

To a run an expert is a checkpoint of its scales $e$, a tensor for each adapted matrix, and every genome is one too:

| genome | scales of a child |
| --- | --- |
| `combination`, `recipe` | those of the parents, crossed or merged |
| `dense` | $\exp$ of a vector: crossover is a geometric mixture, noise multiplies, scales stay positive |

The base language model is loaded once. A child replaces vectors of gains, so it costs no copy of a weight, and its
scores take forward passes only.

References:
    Sun et al., *Transformer²: Self-Adaptive LLMs*, ICLR 2025, https://arxiv.org/abs/2501.06252
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from merganser._errors import ConfigError, RunError
from merganser.adaptation import (
    AdaptedModel,
    ExpertVector,
    Fact,
    adapted_digests,
    attach,
    choose_matrices,
    decompose,
    identity,
    matrix_digest,
    open_expert,
    scale_checkpoints,
)
from merganser.models import LanguageModel
from merganser.run._parents import Parent, names_of
from merganser.run._settings import EvolveSettings, OutputSettings
from merganser.weights import Checkpoint, open_checkpoint

_CHILD = "child"


@dataclass(frozen=True, slots=True)
class Adapted:
    """The base of a run whose models are experts.

    Attributes:
        base: The model that they were trained on.
        digests: Digest of each of its matrices that one of them adapts.
        cache: Folder that keeps its decomposition; None decomposes when a model comes to life.
    """

    base: Checkpoint
    digests: Mapping[str, str]
    cache: str | None = None

    def expert(self, scales: Checkpoint, facts: Mapping[str, Fact] | None = None) -> ExpertVector:
        """The expert that scales describe.

        Raises:
            ValueError: If a scale is not finite.
        """
        gains = {name: scales.read(name).double() - 1 for name in scales}
        return ExpertVector.from_gains(gains, self.digests, facts=facts)

    def live(self, *, device: str, dtype: str | None) -> LivingExperts:
        """The base in memory, ready for experts.

        Raises:
            CheckpointError: If it is no causal language model that transformers knows.
            ValueError: If a matrix belongs to no linear layer.
        """
        model = LanguageModel.of(self.base, device=device, dtype=dtype)
        model.become(self.base)
        factors = decompose(self.base, list(self.digests), cache=self.cache)
        # its numbers were compared with those of the experts; in another element type they are rounded
        return LivingExperts(model, attach(model.module, factors, names=model.name_on_disk, check=False))


class LivingExperts:
    """A language model that becomes one expert after the other.

    Args:
        model: The base.
        adapted: The same, adapted.
    """

    def __init__(self, model: LanguageModel, adapted: AdaptedModel) -> None:
        self._model, self._adapted = model, adapted

    def become(self, expert: ExpertVector) -> LanguageModel:
        """The model with this expert.

        Raises:
            CheckpointError: If the expert was made for another base.
            ValueError: If it scales directions that were not decomposed.
        """
        self._adapted.add(_CHILD, expert)
        self._adapted.set(_CHILD)
        return self._model


def open_experts(settings: EvolveSettings) -> tuple[list[Parent], Adapted]:
    """The experts that the settings name, as scales, and their base.

    Where they adapt different matrices or directions, what one leaves alone has scale 1. Where the base is the only
    one, its MLPs are adapted.

    Raises:
        ConfigError: If the settings do not fit experts.
        CheckpointError: If a file holds no expert, or one of another base.
    """
    adapt = settings.adapt
    assert adapt is not None
    check_expert_settings(settings)
    base = open_checkpoint(adapt.base)
    named = [None if _is_base(ref, adapt.base) else open_expert(ref) for ref in settings.models]
    given = [expert for expert in named if expert is not None] or [_nothing_learnt(base)]
    digests = adapted_digests(given, base)
    scales = scale_checkpoints([identity(given[0]) if expert is None else expert for expert in named])
    parents = [
        Parent(name, dataclasses.replace(checkpoint, source=reference))
        for name, checkpoint, reference in zip(
            names_of(settings.models), scales, settings.models, strict=True
        )
    ]
    return parents, Adapted(base, digests, adapt.cache)


def unchanged(parents: Sequence[Parent], adapted: Adapted) -> Parent:
    """The expert that changes nothing: what merge methods with a base work from."""
    first = parents[0].checkpoint
    ones = Checkpoint.from_tensors({name: np.ones(first.spec(name).shape) for name in first}, copy=False)
    return Parent(Path(adapted.base.source).stem, dataclasses.replace(ones, source=adapted.base.source))


def reopened(noted: Mapping[str, object], cache: str | None) -> Adapted:
    """The base that a run noted when it began.

    Args:
        noted: What `noted_base` gave.
        cache: Folder that keeps its decomposition.

    Raises:
        RunError: If one of its matrices changed since.
        CheckpointError: If it cannot be read.
    """
    path, digests = noted["path"], noted["digests"]
    assert isinstance(path, str)
    assert isinstance(digests, dict)
    base = open_checkpoint(path)
    for name, expected in digests.items():
        if name not in base or matrix_digest(base.read(name)) != expected:
            raise RunError(
                f"The base at {path} changed: {name!r} has no longer the digest {expected}. Restore it, or start a "
                "new run."
            )
    return Adapted(base, digests, cache)


def noted_base(adapted: Adapted) -> dict[str, object]:
    """What a run notes of the base of its experts."""
    place = adapted.base.path
    return {
        "path": adapted.base.source if place is None else str(Path(place).resolve()),
        "digests": dict(adapted.digests),
    }


def check_expert_settings(settings: EvolveSettings) -> None:
    """Make sure that settings with `adapt` ask for nothing that experts do not have.

    Raises:
        ConfigError: If they do.
    """
    genome = settings.genome
    refused = {
        "`models` that are no files": isinstance(settings.models, str),
        "`genome: {kind: path}`": genome.kind == "path",
        "`genome.network`": genome.network is not None,
        "`genome.base`, which `adapt.base` is already": genome.base is not None,
        "`output`": settings.output != OutputSettings(),
        "`then`": settings.then is not None,
    }
    for what, is_there in refused.items():
        if is_there:
            raise ConfigError(
                f"With `adapt`, `models` are files of experts, for which there is no {what}. Leave that out, or leave "
                "`adapt` out."
            )


def _is_base(reference: str, base: str) -> bool:
    one, other = Path(reference).expanduser(), Path(base).expanduser()
    return reference == base or (one.exists() and other.exists() and one.samefile(other))


def _nothing_learnt(base: Checkpoint) -> ExpertVector:
    """The expert of a base's MLPs that changes nothing."""
    import torch

    names = choose_matrices(base)
    digests = {name: matrix_digest(base.read(name)) for name in names}
    return ExpertVector.from_gains({n: torch.zeros(min(base.spec(n).shape)) for n in names}, digests)
