"""Files of experts where models are expected: compared by their scales, never merged as if they were weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from merganser.weights import Checkpoint, open_checkpoint


def scales_of_experts(
    references: Sequence[str], base: str | None
) -> tuple[list[Checkpoint], Checkpoint] | None:
    """Experts as checkpoints of scales, with the one that changes nothing as their base; None if all are models.

    Args:
        references: Models, or files of experts.
        base: The model that experts were made for, to make sure of it.

    Raises:
        ValueError: If some are experts and others are not, or they are of different bases.
        CheckpointError: If a file is damaged, or an expert was made for another base than the one given.
    """
    found = [_is_expert_file(reference) for reference in references]
    if not any(found):
        return None
    if not all(found):
        expert, model = references[found.index(True)], references[found.index(False)]
        raise ValueError(
            f"Expected models, or experts of one base, but {expert} is an expert and {model} is none. Compare experts "
            "with each other; as a model, an expert is the base with it folded in: `save(fold(base, expert), …)`."
        )
    from merganser.adaptation import adapted_digests, identity, open_expert, scale_checkpoints

    experts = [open_expert(reference) for reference in references]
    if base is not None:
        adapted_digests(experts, open_checkpoint(base))
    *scales, ones = scale_checkpoints([*experts, identity(experts[0])])
    named = zip(scales, references, strict=True)
    return [dataclasses.replace(each, source=reference) for each, reference in named], dataclasses.replace(
        ones, source="the base" if base is None else base
    )


def refuse_experts(references: Sequence[str]) -> None:
    """Make sure that none of the models is an expert, whose file holds logits or gains.

    Raises:
        ValueError: If one is.
    """
    for reference in references:
        if _is_expert_file(reference):
            raise ValueError(
                f"{reference} is an expert, whose numbers are no weights. Merge experts in Python, by their scales "
                "(`merganser.adaptation.scale_checkpoints`), or search a mixture: `merganser evolve … --adapt BASE`."
            )


def _is_expert_file(reference: str) -> bool:
    path = Path(reference).expanduser()
    if path.suffix != ".safetensors":
        return False
    from merganser.adaptation import (
        is_expert,  # not before: it takes a second that merging folders need not wait
    )

    return path.is_file() and is_expert(open_checkpoint(path))
