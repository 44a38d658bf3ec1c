"""A router as a folder: `router.json`, `arrays.npz`, `samples.jsonl` and, where it has one, `experts.json`.

Nothing is pickled. The samples are there so that the router can be refitted with what a log adds; whoever may read the
folder may read them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from pydantic import TypeAdapter

from merganser._errors import ConfigError, TaskError
from merganser._text_file import read_text
from merganser.routing.requests._data import RoutingData, read_rows, write_rows
from merganser.routing.requests._embedding import Embedding, Hashed, Hidden
from merganser.routing.requests._experts_file import (
    ExpertsFile,
    RouterSettings,
    experts_facts,
    parse_experts_file,
)
from merganser.routing.requests._predictors import PREDICTORS
from merganser.routing.requests._router import RequestRouter
from merganser.routing.requests._rule import Rule
from merganser.weights import atomic_directory, atomic_write_bytes, atomic_write_text

_VERSION = 1
_ROUTER, _ARRAYS, _SAMPLES, _EXPERTS = "router.json", "arrays.npz", "samples.jsonl", "experts.json"


class SavedRouter(NamedTuple):
    """What a router's folder holds.

    Attributes:
        router: The router.
        experts: Its experts file, if it was saved with one.
    """

    router: RequestRouter
    experts: ExpertsFile | None


def save_router(
    router: RequestRouter, folder: str | Path, *, experts: ExpertsFile | None = None, overwrite: bool = False
) -> None:
    """Write a router as a folder, whole or not at all.

    Args:
        router: The router.
        folder: Where.
        experts: How its experts are asked, so that `route run` can.
        overwrite: Whether whatever is there may be replaced.

    Raises:
        OutputError: If the folder is there and may not be replaced, or cannot be written.
    """
    facts = {
        "version": _VERSION,
        "experts": list(router.experts),
        "costs": router.costs.tolist(),
        "rule": {"price": router.rule.price, "threshold": router.rule.threshold},
        "settings": TypeAdapter(RouterSettings).dump_python(router.settings, mode="json"),
        "data": router.data.digest,
        "notes": list(router.notes),
    }
    parts = {"embedding": router.embedding.arrays(), "predictor": router.predictor.arrays()}
    arrays: dict[str, Any] = {
        f"{part}.{name}": array for part, found in parts.items() for name, array in found.items()
    }
    with atomic_directory(folder, overwrite=overwrite) as place:
        atomic_write_text(place / _ROUTER, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        atomic_write_text(place / _SAMPLES, write_rows(router.data))
        with (place / _ARRAYS).open("wb") as file:
            np.savez_compressed(file, **arrays)
        if experts is not None:
            atomic_write_bytes(place / _EXPERTS, json.dumps(experts_facts(experts), indent=1).encode())


def open_router(folder: str | Path) -> SavedRouter:
    """A router from its folder.

    Raises:
        ConfigError: If the folder is no router's, is damaged, or was written by a newer version.
    """
    folder = Path(folder).expanduser()
    facts = _json(folder / _ROUTER)
    try:
        if facts["version"] != _VERSION:
            raise ConfigError(
                f"{folder}: expected a router of version {_VERSION}, found {facts['version']}. Use the Merganser "
                "that wrote it."
            )
        names = tuple(facts["experts"])
        data = RoutingData.of(read_rows(folder / _SAMPLES), names)
        if data.digest != facts["data"]:
            raise ConfigError(f"{folder}: {_SAMPLES} is not what the router was fitted on. Fit it again.")
        settings = TypeAdapter(RouterSettings).validate_python(facts["settings"])
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        rule = Rule(**facts["rule"])
        router = RequestRouter(
            names,
            np.array(facts["costs"], dtype=np.float64),
            _embedding(settings, _part(found, "embedding")),
            PREDICTORS[settings.kind](_part(found, "predictor")),
            rule,
            data,
            settings,
            tuple(facts["notes"]),
        )
    except (BadZipFile, OSError, KeyError, TypeError, ValueError, EOFError, TaskError) as error:
        raise ConfigError(f"{folder} is damaged, or no router: {type(error).__name__} {error}.") from error
    experts = folder / _EXPERTS
    return SavedRouter(router, parse_experts_file(_json(experts), str(experts)) if experts.exists() else None)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path))
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected an object, found {type(found).__name__}.")
    return found


def _part(arrays: dict[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{part}."): a for name, a in arrays.items() if name.startswith(f"{part}.")}


def _embedding(settings: RouterSettings, arrays: dict[str, np.ndarray]) -> Embedding:
    if settings.embedding == "hashed":
        return Hashed(arrays["rarity"])
    return Hidden(settings.embedding, arrays["centre"], arrays["scale"])
