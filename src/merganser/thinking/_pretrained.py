"""Models on disk: a folder with ``config.json`` and ``model.safetensors``, a checkpoint like any other."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from merganser._errors import CheckpointError, OutputError
from merganser.thinking._baseline_config import BASELINE_TYPE, BaselineConfig, ThinkerConfig
from merganser.thinking._config import MODEL_TYPE, CTMConfig
from merganser.thinking._official import is_official, official_config, our_tensors, read_official
from merganser.weights import Checkpoint, open_checkpoint, save

if TYPE_CHECKING:
    from merganser.thinking._model import CTM
    from merganser.thinking._thinker import Thinker

_COUNTS = "num_batches_tracked"
"""What batch norms count. Nothing uses it here, and a merge would find that its models differ."""


_T = TypeVar("_T", bound="Thinker[Any]")


def new_thinker(config: ThinkerConfig) -> Thinker[Any]:
    """A model with weights drawn from torch's generator.

    Args:
        config: What it is made of; says whether it is a [`CTM`][], an [`LSTM`][] or a [`FeedForward`][].
    """
    return _kind_of(config)(config)


def open_thinker(reference: str | Path | Checkpoint) -> Thinker[Any]:
    """A model from a folder, a file, the hub or a checkpoint that is open, in evaluation mode.

    Args:
        reference: Ours, a [`CTM`][], an [`LSTM`][] or a [`FeedForward`][] as its configuration says; or one of the
            official code: a folder whose ``config.json`` holds the arguments, or a file of its training scripts.

    Raises:
        CheckpointError: If it is damaged or another model, or tensors do not fit the configuration.
        ConfigError: If its configuration is wrong.
    """
    config, tensors, source = _read(reference)
    return _filled(_kind_of(config), config, tensors, source)


def open_as(kind: type[_T], reference: str | Path | Checkpoint) -> _T:
    """The same, of one kind.

    Args:
        kind: What it must be.
        reference: As for [`open_thinker`][].

    Raises:
        CheckpointError: Also if it is of another kind.
        ConfigError: If its configuration is wrong.
    """
    config, tensors, source = _read(reference)
    found = _kind_of(config)
    if not issubclass(kind, found):
        raise CheckpointError(
            f"{source} holds a model of another kind: expected {kind.__name__}, found {found.__name__}. "
            f"Open it with `{found.__name__}.from_pretrained`, or with `open_thinker`, which opens all."
        )
    return _filled(kind, config, tensors, source)


def from_official(tensors: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> CTM:
    """A model of the official code, in evaluation mode.

    Args:
        tensors: Its state dict.
        arguments: Of its constructor, or of the training script.

    Raises:
        CheckpointError: If tensors or arguments are missing, or do not fit.
        ConfigError: If arguments do not go together.
    """
    from merganser.thinking._model import CTM

    return _filled(CTM, *_read_official(tensors, arguments))


def checkpoint_of(model: Thinker[Any]) -> Checkpoint:
    """The model as a checkpoint: to compare, merge or evolve it without a file."""
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(_COUNTS)}
    return Checkpoint.from_tensors(state, config=model.config.to_dict())


def save_thinker(model: Thinker[Any], folder: str | Path, *, overwrite: bool = False) -> Checkpoint:
    """Write a model, atomically, and open what was written.

    Args:
        model: The model.
        folder: Where to.
        overwrite: Whether to replace a folder that holds a checkpoint.

    Raises:
        OutputError: If the folder exists and may not be replaced, or cannot be written.
    """
    return save(checkpoint_of(model), folder, overwrite=overwrite)


def push_thinker(model: Thinker[Any], name: str, *, private: bool = False) -> str:
    """Upload a model to the Hugging Face hub; gives its address.

    Args:
        model: The model.
        name: ``org/name``.
        private: Whether a repository that does not exist yet shall be private.

    Raises:
        OutputError: If huggingface_hub is missing, or the hub refuses.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise OutputError(
            "To upload models install huggingface_hub: pip install 'merganser[hub]'."
        ) from error
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        save_thinker(model, folder)
        hub = huggingface_hub.HfApi()
        try:
            address = hub.create_repo(name, private=private, exist_ok=True)
            hub.upload_folder(repo_id=name, folder_path=folder)
        except Exception as error:
            raise OutputError(f"{name} could not be uploaded to the hub: {error}") from error
    return str(address)


_Read = tuple[ThinkerConfig, Mapping[str, Tensor], str]
"""Configuration, tensors, and where they are from."""


def _read(reference: str | Path | Checkpoint) -> _Read:
    if not isinstance(reference, Checkpoint) and str(reference).endswith((".pt", ".pth")):
        return _read_official(*read_official(reference))
    checkpoint = reference if isinstance(reference, Checkpoint) else open_checkpoint(reference)
    tensors = {name: checkpoint.read(name) for name in checkpoint}
    found = checkpoint.config.get("model_type")
    if found == MODEL_TYPE:
        return CTMConfig.from_dict(checkpoint.config), tensors, checkpoint.source
    if found == BASELINE_TYPE:
        return BaselineConfig.from_dict(checkpoint.config), tensors, checkpoint.source
    if is_official(checkpoint.config):
        return _read_official(tensors, checkpoint.config)
    raise CheckpointError(
        f"{checkpoint.source} is no thought machine: its configuration says neither model type `{MODEL_TYPE}` or "
        f"`{BASELINE_TYPE}`, nor the official code's arguments."
    )


def _read_official(tensors: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> _Read:
    config = official_config(tensors, arguments)
    return config, our_tensors(tensors, config), "The official state dict"


def _kind_of(config: ThinkerConfig) -> type[Thinker[Any]]:
    from merganser.thinking._feed_forward import FeedForward
    from merganser.thinking._lstm import LSTM
    from merganser.thinking._model import CTM

    if isinstance(config, CTMConfig):
        return CTM
    return LSTM if config.kind == "lstm" else FeedForward


def _filled(kind: type[_T], config: ThinkerConfig, tensors: Mapping[str, Tensor], source: str) -> _T:
    model = kind(config)
    wanted = {name: t.shape for name, t in model.state_dict().items() if not name.endswith(_COUNTS)}
    missing, unknown = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or unknown:
        said = f"lacks `{missing[0]}`" if missing else f"holds `{unknown[0]}`, which it does not have"
        raise CheckpointError(
            f"{source} does not fit its configuration: it {said} ({len(missing)} missing, {len(unknown)} unknown)."
        )
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise CheckpointError(
                f"{source} does not fit its configuration: `{name}` should be {tuple(shape)}, but is "
                f"{tuple(tensors[name].shape)}."
            )
    first, _ = next(model.named_parameters())
    model.to(tensors[first].dtype).load_state_dict(dict(tensors), strict=False)
    return model.eval()
