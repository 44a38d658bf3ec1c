"""What merges by rule are written as: whose configuration and tokens they have, and which element type.

Candidates have the donor and the tokens of what will be written, and are scored with its tokenizer; the element type
that they are scored in is a matter of its own (`dtype` of the evolve file).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from merganser._errors import ConfigError
from merganser.merging import MergePlan, VocabularyRules
from merganser.run._settings import EvolveSettings, OutputSettings
from merganser.weights import Checkpoint


def written_as(settings: EvolveSettings) -> dict[str, Any]:
    """What the settings say of the written model, as a `Blueprint` takes it.

    Args:
        settings: What was asked for; models are numbered as merges by rule do it, the base first.

    Raises:
        ConfigError: If donor or tokenizer are none of the models.
    """
    output, found = settings.output, dict[str, Any]()
    if output.dtype is not None:
        found["dtype"] = output.dtype
    if output.donor is not None:
        found["donor"] = _number(settings, "donor", output.donor)
    if output.tokenizer == "union":
        found["vocabulary"] = VocabularyRules("union")
    elif output.tokenizer is not None:
        found["vocabulary"] = VocabularyRules(_number(settings, "tokenizer", output.tokenizer))
    return found


def refuse_output(settings: EvolveSettings) -> None:
    """Make sure that nothing is said of the written model where genomes are no merges by rule.

    Raises:
        ConfigError: If it is.
    """
    if settings.output != OutputSettings():
        raise ConfigError(
            "`output` says how merges by rule are written, but this genome is none: its descendants have the element "
            "types, configuration and tokenizer of the first model. Name a `method` under `genome`, or leave `output` "
            "out."
        )


def check_same_rows(plan: MergePlan, model: Checkpoint) -> None:
    """Make sure that a merge has the shapes of the models, so that these can be scored beside it.

    Raises:
        ConfigError: If the tokens of the result are more or fewer.
    """
    for spec in (target.spec for target in plan.targets):
        if spec.name in model and model.spec(spec.name).shape != spec.shape:
            raise ConfigError(
                f"With this `output.tokenizer`, {spec.name} has the shape {list(spec.shape)} rather than "
                f"{list(model.spec(spec.name).shape)}, so the models could not be scored beside their merges. Take the "
                "tokenizer of one of the models."
            )


def _number(settings: EvolveSettings, key: str, wanted: str) -> int:
    base, models = settings.genome.base, settings.models
    named = [*([] if base is None else [base]), *([] if isinstance(models, str) else models)]
    if wanted == "base" and base is not None:
        return 0
    found = [number for number, reference in enumerate(named) if _same(reference, wanted)]
    if not found:
        raise ConfigError(
            f"`output.{key}` must be one of the models or the base, but {wanted!r} is none of "
            f"{', '.join(named) or 'them'}."
        )
    return found[0]


def _same(reference: str, wanted: str) -> bool:
    one, other = Path(reference).expanduser(), Path(wanted).expanduser()
    return reference == wanted or (one.exists() and other.exists() and one.samefile(other))
