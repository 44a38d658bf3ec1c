"""What a model leaves behind on given data, so that it can be compared with others without being run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from merganser._errors import ConfigError
from merganser.comparison._features import features, text_batches_of
from merganser.comparison._file import read_arrays, write_arrays
from merganser.comparison._relations import Measure, Relations, Site, relate
from merganser.comparison._view import View
from merganser.models import Batch, SpokenModel

if TYPE_CHECKING:
    from torch import nn

_KIND = "imprint"


@dataclass(frozen=True, slots=True)
class Imprint:
    """How the rows of given data relate at each layer of a model.

    Attributes:
        data: Digest of the data.
        tokens: Digest of the tokens that the model read texts as; empty for modules.
        view: How the model was looked at.
        batches: The relations, batch by batch.
    """

    data: str
    tokens: str
    view: View
    batches: tuple[Relations, ...]

    @classmethod
    def of(
        cls,
        model: SpokenModel | nn.Module,
        data: Sequence[str] | Sequence[Batch],
        view: View | None = None,
        *,
        name: str = "model",
        seen: Callable[[int], None] | None = None,
    ) -> Imprint:
        """Run a model on data.

        Args:
            model: As [`features`][] takes it.
            data: As there, but to be gone through twice.
            view: As there.
            name: What the model is called in the result.
            seen: As there.

        Raises:
            ValueError: As there; also if there are fewer than 8 rows.
        """
        view = View() if view is None else view
        tokens = ""
        if isinstance(model, SpokenModel):
            tokens = digest_of(text_batches_of(model, cast("Sequence[str]", data), view))
        batches = tuple(
            relate({(name, layer): rows for layer, rows in batch.items()}, neighbours=view.neighbours)
            for batch in features(model, data, view, seen=seen)
        )
        return cls(digest_of(data), tokens, view, batches)

    def named(self, name: str) -> Imprint:
        """The same under another name of the model."""
        batches = tuple(
            replace(batch, sites=tuple(Site(name, site.layer) for site in batch.sites))
            for batch in self.batches
        )
        return replace(self, batches=batches)

    def save(self, path: str | Path) -> None:
        """Write it to an npz file, atomically.

        Raises:
            OutputError: If it cannot be written.
        """
        arrays: dict[str, np.ndarray] = {}
        for i, batch in enumerate(self.batches):
            arrays |= {f"{i}.{measure}": vectors for measure, vectors in batch.vectors.items()}
            arrays |= {f"{i}.energy.{j}": energy for j, energy in enumerate(batch.energies)}
        about = {
            "data": self.data,
            "tokens": self.tokens,
            "view": asdict(self.view),
            "sites": self.batches[0].sites,
            "rows": [batch.rows for batch in self.batches],
        }
        write_arrays(path, _KIND, about, arrays)

    @classmethod
    def open(cls, path: str | Path) -> Imprint:
        """Read what `save` wrote.

        Raises:
            ConfigError: If the file is none of these, or damaged.
        """
        about, arrays = read_arrays(path, _KIND)
        try:
            layers = about["view"]["layers"]
            view = View(**{**about["view"], "layers": None if layers is None else tuple(layers)})
            sites = tuple(Site(*site) for site in about["sites"])
            batches = tuple(
                _batch(arrays, i, rows, sites, view.neighbours) for i, rows in enumerate(about["rows"])
            )
            return cls(about["data"], about["tokens"], view, batches)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{path} is damaged: {error}. Run the model again.") from error


def digest_of(data: Iterable[Any]) -> str:
    """A digest of texts or batches, in their order."""
    found = hashlib.sha256()
    for each in data:
        found.update(_words(each))
    return found.hexdigest()


def _batch(
    arrays: dict[str, np.ndarray], i: int, rows: int, sites: tuple[Site, ...], neighbours: int | None
) -> Relations:
    measures: tuple[Measure, ...] = ("cka",) if neighbours is None else ("cka", "cknna", "mutual_knn")
    vectors: dict[Measure, np.ndarray] = {measure: arrays[f"{i}.{measure}"] for measure in measures}
    for measure, found in vectors.items():
        if found.shape != (len(sites), rows * rows):
            raise ValueError(f"{measure} of batch {i} has the shape {found.shape}")
    energies = tuple(arrays[f"{i}.energy.{j}"] for j in range(len(sites)))
    return Relations(sites, rows, neighbours, vectors, energies)


def _words(value: Any) -> bytes:
    """A value as bytes that tell it from others."""
    if isinstance(value, dict):
        return b"{" + b"".join(json.dumps(k).encode() + _words(v) for k, v in value.items()) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b"".join(map(_words, value)) + b"]"
    if hasattr(value, "detach"):
        import torch

        flat = value.detach().cpu().contiguous().reshape(-1)
        value, kind = flat.view(torch.uint8).numpy(), [str(value.dtype), list(value.shape)]
        return json.dumps(kind).encode() + value.tobytes()
    if isinstance(value, np.ndarray):
        return json.dumps([str(value.dtype), value.shape]).encode() + value.tobytes()
    return json.dumps(value).encode() + b","
