"""A transformers module for a checkpoint: built without numbers, so that the first child costs no more than the next.

The library is asked to load a checkpoint of empty tensors (`_places`). So it decides what it always decides (class,
names, ties, precision of single tensors, what is computed from the configuration), and nothing is drawn at random.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from merganser._errors import CheckpointError, ConfigError
from merganser.models._places import Watch, held_by, move_memory, names_on_disk, storage_of, uncovered
from merganser.weights import DTYPES, TensorSpec, is_derived

_SHOWN = 4
"""Names that a message lists."""


@dataclass(frozen=True, slots=True)
class Body:
    """A module whose memory is known, tensor by tensor.

    Attributes:
        module: The module; its parameters hold no numbers yet.
        places: For each tensor on disk the view of the module's memory that it is written to, of its shape on disk.
        names: For each tensor in memory the tensors on disk that it is made of; several where it is packed.
        dtype: Element type of most parameters.
    """

    module: nn.Module
    places: Mapping[str, Tensor]
    names: Mapping[str, tuple[str, ...]]
    dtype: torch.dtype


def build(
    config: Mapping[str, Any],
    specs: Iterable[TensorSpec],
    *,
    source: str,
    dtype: torch.dtype | None = None,
    device: str = "cpu",
) -> Body:
    """Build the causal language model that a configuration describes.

    Args:
        config: The content of ``config.json``.
        specs: The checkpoint's tensors.
        source: What messages call it.
        dtype: Element type of its parameters; by default the one that most numbers have on disk.
        device: Where it lives, as torch names it.

    Raises:
        ConfigError: If transformers is not installed.
        CheckpointError: If transformers has no causal language model for the configuration, the tensors are not
            those of that model, or some have no place in it.
    """
    needed = {spec.name: spec for spec in specs if not is_derived(spec)}
    dtype = dtype or _usual_dtype(needed.values(), source)
    settings = settings_of(config, source)
    kinds = import_transformers().MODEL_FOR_CAUSAL_LM_MAPPING
    if type(settings) not in kinds:
        raise CheckpointError(
            f"Expected a causal language model, but {source} is a {settings.model_type!r}, for which transformers has "
            "none."
        )
    kind = kinds[type(settings)]
    types = {name: dtype if spec.is_floating else _torch_type(spec) for name, spec in needed.items()}
    module, places = _load_empty(kind, settings, needed, types, dtype, source)
    if _homeless(
        module, places
    ):  # tied by the configuration, although the checkpoint has both: then both count
        settings.get_text_config().tie_word_embeddings = settings.tie_word_embeddings = False
        module, places = _load_empty(kind, settings, needed, types, dtype, source)
    if precise := _homeless(module, places):  # kept in single precision by the library
        types |= dict.fromkeys(precise, torch.float32)
        module, places = _load_empty(kind, settings, needed, types, dtype, source)
    if unknown := uncovered(module, places) + _homeless(module, places):
        raise CheckpointError(
            f"transformers makes {listed(unknown)} of the tensors of {source} in a way that cannot be followed, so "
            "children cannot be written into it in place. Merge to disk and load the result with transformers."
        )
    if torch.device(device).type != "cpu":
        move_memory(module, places, torch.device(device))
    module.eval().requires_grad_(False)
    names = names_on_disk(module, places)
    return Body(module, MappingProxyType(places), MappingProxyType(names), dtype)


def import_transformers() -> Any:
    """The library.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(
            "Bringing a language model to life needs the library transformers, which is not installed. Install it "
            "with: pip install 'merganser[transformers]'"
        ) from error
    return transformers


def settings_of(config: Mapping[str, Any], source: str) -> Any:
    """A configuration as transformers reads it from a file, legacy keys and all.

    Raises:
        ConfigError: If transformers is not installed.
        CheckpointError: If it does not know the model's type, or cannot read the configuration.
    """
    transformers = import_transformers()
    model_type = config.get("model_type")
    if model_type not in transformers.CONFIG_MAPPING:
        raise CheckpointError(
            f"Expected a configuration with a `model_type` that transformers {transformers.__version__} knows, but "
            f"{source} has {model_type!r}. Code that comes with a model is not run; add its config.json, or upgrade "
            "transformers."
        )
    with tempfile.TemporaryDirectory() as folder:  # the library reads a file in more ways than a dictionary
        (Path(folder) / "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")
        try:
            return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # whatever the model's own code finds wrong
            raise CheckpointError(
                f"transformers cannot read the configuration of {source}: {error}"
            ) from error


def _homeless(module: nn.Module, places: Mapping[str, Tensor]) -> list[str]:
    """Names on disk of what the module does not hold."""
    held = {storage_of(tensor) for _, tensor in held_by(module)}
    return [name for name, place in places.items() if storage_of(place) not in held]


def _load_empty(
    kind: Any,
    settings: Any,
    specs: Mapping[str, TensorSpec],
    types: Mapping[str, torch.dtype],
    dtype: torch.dtype,
    source: str,
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Have the library load tensors that have memory but no numbers, and see where it puts them."""
    places = {name: torch.empty(spec.shape, dtype=types[name]) for name, spec in specs.items()}
    given = dict(places)
    with _quiet(), Watch(places):
        module, report = kind.from_pretrained(
            None,
            config=copy.deepcopy(settings),
            state_dict=given,
            dtype=dtype,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    lacking, foreign = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    misshapen = [
        f"{name} (expected {tuple(e)}, found {tuple(f)})" for name, f, e in report["mismatched_keys"]
    ]
    for what, names in (
        ("lacks", lacking),
        ("has no use for", foreign),
        ("has another shape for", misshapen),
    ):
        if names:
            whose = source if what == "lacks" else type(module).__name__
            beside = f"; {type(module).__name__} needs them" if what == "lacks" else f" of {source}"
            raise CheckpointError(
                f"{whose} {what} {len(names)} tensors{beside}: {listed(names)}. Do configuration and tensors belong "
                "together?"
            )
    return module, places


def _usual_dtype(specs: Iterable[TensorSpec], source: str) -> torch.dtype:
    counts: Counter[str] = Counter()
    for spec in specs:
        if spec.is_floating and spec.itemsize > 1:
            counts[spec.dtype] += spec.numel
    if not counts:
        raise CheckpointError(
            f"{source} holds no floating tensors of 16 bits or more: no model can be built of it."
        )
    return getattr(torch, DTYPES[counts.most_common(1)[0][0]].library)


def _torch_type(spec: TensorSpec) -> torch.dtype:
    return getattr(torch, DTYPES[spec.dtype].library)


def listed(names: list[str]) -> str:
    """The first names, and how many there are beside them."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and report: what it has to say becomes errors of ours."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
