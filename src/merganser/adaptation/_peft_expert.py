"""From a tuner of PEFT, live or saved, back to an expert."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merganser._errors import CheckpointError, ConfigError
from merganser.adaptation._decomposition import Decomposition
from merganser.adaptation._expert import ExpertVector, Fact, check_base
from merganser.adaptation._factors import Factors
from merganser.adaptation._parametrise import PARAMETRISATIONS, Parametrisation
from merganser.models import Names
from merganser.weights import ADAPTER_CONFIG_NAME, ADAPTER_NAMES, open_checkpoint

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor

_PREFIX = "base_model.model."
_VECTOR = ".svf_z"


def expert_from_peft(
    adapter: PeftModel | str | Path,
    decomposition: Decomposition | None = None,
    *,
    name: str = "default",
    names: Names | None = None,
    facts: Mapping[str, Fact] | None = None,
) -> ExpertVector:
    """The expert that an SVF adapter of PEFT is.

    Args:
        adapter: A live model with the adapter, or the folder that `save_pretrained` wrote.
        decomposition: Of the base. A folder needs it, for it has no singular values; a live model has its own.
        name: Which adapter, of a live model.
        names: From a parameter's name in the module to that in the base's file, where they differ: for a
            [`LanguageModel`][merganser.models.LanguageModel] its `name_on_disk`.
        facts: What is known of its training.

    Raises:
        CheckpointError: If the folder holds no SVF adapter, or one made for another base than was decomposed.
        ValueError: If the model has no such adapter, or a folder comes without a decomposition.
        ConfigError: If PEFT is not installed.
    """
    if isinstance(adapter, str | Path):
        if decomposition is None:
            raise ValueError(
                "An adapter's folder holds no singular values of its base. Give the base's `decomposition`."
            )
        return _from_folder(Path(adapter).expanduser(), decomposition, names, facts)
    return _from_model(adapter, name, decomposition, names, facts)


def _from_model(
    model: PeftModel,
    adapter: str,
    decomposition: Decomposition | None,
    names: Names | None,
    facts: Mapping[str, Fact] | None,
) -> ExpertVector:
    try:
        from merganser.adaptation._peft_tuner import SvfConfig, SvfLinear
    except ImportError as error:
        raise ConfigError(
            "Reading an adapter needs the library peft. Install it with: pip install 'merganser[peft]'"
        ) from error
    there = {name: config for name, config in model.peft_config.items() if isinstance(config, SvfConfig)}
    if adapter not in there:
        raise ValueError(
            f"Expected an SVF adapter {adapter!r}; the model's are: {', '.join(there) or 'none'}. Say which with "
            "`name`."
        )
    factors: dict[str, Factors] = {}
    vectors: dict[str, Tensor] = {}
    for key, layer in model.named_modules():
        if isinstance(layer, SvfLinear) and adapter in layer.svf_z:
            place = _place(key, names)
            vectors[place] = layer.svf_z[adapter]
            factors[place] = Factors(layer.svf_outward, layer.svf_sigma.cpu(), layer.svf_inward, layer.digest)
    own = Decomposition(factors, "the adapter's base")
    expert = _expert(vectors, there[adapter].parametrisation, own, facts)
    if decomposition is not None:
        check_base(expert, decomposition.digests, decomposition.source)
    return expert


def _from_folder(
    folder: Path, decomposition: Decomposition, names: Names | None, facts: Mapping[str, Fact] | None
) -> ExpertVector:
    try:
        config: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG_NAME).read_bytes())
        kind, digests, said = config["peft_type"], dict(config["digests"]), config["parametrisation"]
        parametrisation = PARAMETRISATIONS[PARAMETRISATIONS.index(said)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"Expected a folder that `save_pretrained` wrote for an SVF adapter, but {folder} is none: {error!r}."
        ) from error
    if kind != "SVF":
        raise CheckpointError(f"Expected an SVF adapter in {folder}, found one of {kind!r}.")
    file = open_checkpoint(folder / ADAPTER_NAMES[0])
    found = {key.removesuffix(_VECTOR): file.read(key) for key in file if key.endswith(_VECTOR)}
    vectors = {_place(key, names): vector for key, vector in found.items()}
    expert = _expert(vectors, parametrisation, decomposition, facts)
    written = {_place(key, names): digest for key, digest in digests.items()}
    check_base(expert, written, f"the adapter in {folder}")
    return expert


def _expert(
    vectors: Mapping[str, Tensor],
    parametrisation: Parametrisation,
    decomposition: Decomposition,
    facts: Mapping[str, Fact] | None,
) -> ExpertVector:
    if parametrisation == "sigmoid":
        return ExpertVector.from_logits(vectors, decomposition, facts=facts)
    digests = {name: decomposition[name].digest for name in vectors}
    return ExpertVector.from_gains(vectors, digests, facts=facts)


def _place(key: str, names: Names | None) -> str:
    """What the weight of a module is called in the base's file."""
    own = f"{key.removeprefix(_PREFIX)}.weight"
    return own if names is None else names(own)
