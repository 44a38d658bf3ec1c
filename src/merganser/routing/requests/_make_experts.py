"""From an experts file to experts that can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from merganser._errors import ConfigError
from merganser.routing.requests._contract import Contract, Limits
from merganser.routing.requests._endpoint import Endpoint
from merganser.routing.requests._expert import Ask, Expert
from merganser.routing.requests._experts_file import ContractSettings, ExpertSettings, ExpertsFile
from merganser.routing.requests._local import LocalModels
from merganser.routing.requests._process import Function
from merganser.routing.requests._templates import classification, code, extraction, question_answering

_GIB = 2**30
_OWN = {"classification": "labels", "extraction": "fields", "question_answering": None, "code": "language"}


def make_experts(file: ExpertsFile) -> tuple[Expert, ...]:
    """The experts of a file. Nothing is loaded or started before one is asked.

    Raises:
        ConfigError: If a contract lacks what its kind needs, or an address is wrong.
    """
    contracts = {name: _contract(name, settings) for name, settings in file.contracts.items()}
    memory = None if file.memory_gib is None else round(file.memory_gib * _GIB)
    local = LocalModels(memory=memory, device=file.device, dtype=file.dtype)
    return tuple(
        Expert(
            each.name, contracts[each.contract], _way(each, local, file.folder), each.cost, each.token_cost
        )
        for each in file.experts
    )


def _way(expert: ExpertSettings, local: LocalModels, folder: str) -> Ask:
    if expert.function is not None:
        return Function(expert.function, path=[folder])
    if expert.model is not None:
        beside = Path(folder) / expert.model
        return local.expert(str(beside) if beside.exists() else expert.model)
    assert expert.endpoint is not None
    return Endpoint(expert.endpoint.url, expert.endpoint.model, expert.endpoint.key)


def _contract(name: str, settings: ContractSettings) -> Contract:
    _check_keys(name, settings)
    options: dict[str, Any] = {
        "name": name,
        "instructions": settings.instructions,
        "good_at": settings.good_at,
        "limits": Limits(settings.seconds, settings.max_tokens, settings.stop),
        "retries": settings.retries,
    }
    if settings.prompt is not None:
        options["prompt"] = settings.prompt
    try:
        if settings.kind == "classification":
            return classification(settings.labels or (), **options)
        if settings.kind == "extraction":
            return extraction(settings.fields or {}, **options)
        if settings.kind == "code":
            return code(language=settings.language or "python", **options)
        return question_answering(**options)
    except ValueError as error:
        raise ConfigError(f"Contract {name!r}: {error}") from error


def _check_keys(name: str, settings: ContractSettings) -> None:
    for key in ("labels", "fields", "language"):
        if getattr(settings, key) is not None and _OWN[settings.kind] != key:
            raise ConfigError(f"Contract {name!r}: `{key}` is not for {settings.kind}. Leave it out.")
