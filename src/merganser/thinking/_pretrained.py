"""Thought machines on disk: a folder with ``config.json`` and ``model.safetensors``, a checkpoint like any other."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from merganser._errors import CheckpointError, OutputError
from merganser.thinking._config import MODEL_TYPE, CTMConfig
from merganser.thinking._official import is_official, official_config, our_tensors, read_official
from merganser.weights import Checkpoint, open_checkpoint, save

if TYPE_CHECKING:
    from merganser.thinking._model import CTM

_COUNTS = "num_batches_tracked"
"""What batch norms count. Nothing uses it here, and a merge would find that its models differ."""


def load_ctm(reference: str | Path | Checkpoint) -> CTM:
    """A thought machine from a folder, a file, the hub or a checkpoint that is open, in evaluation mode.

    Args:
        reference: Ours, or one of the official code: a folder whose ``config.json`` holds the arguments, or a file
            of its training scripts.

    Raises:
        CheckpointError: If it is damaged or another model, or tensors do not fit the configuration.
        ConfigError: If its configuration is wrong.
    """
    if not isinstance(reference, Checkpoint) and str(reference).endswith((".pt", ".pth")):
        return from_official(*read_official(reference))
    checkpoint = reference if isinstance(reference, Checkpoint) else open_checkpoint(reference)
    tensors = {name: checkpoint.read(name) for name in checkpoint}
    if checkpoint.config.get("model_type") == MODEL_TYPE:
        return _filled(CTMConfig.from_dict(checkpoint.config), tensors, checkpoint.source)
    if is_official(checkpoint.config):
        return from_official(tensors, checkpoint.config)
    raise CheckpointError(
        f"{checkpoint.source} is no thought machine: its configuration says neither model type `{MODEL_TYPE}` nor "
        "the official code's arguments."
    )


def from_official(tensors: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> CTM:
    """A model of the official code, in evaluation mode.

    Args:
        tensors: Its state dict.
        arguments: Of its constructor, or of the training script.

    Raises:
        CheckpointError: If tensors or arguments are missing, or do not fit.
        ConfigError: If arguments do not go together.
    """
    config = official_config(tensors, arguments)
    return _filled(config, our_tensors(tensors, config), "The official state dict")


def checkpoint_of(model: CTM) -> Checkpoint:
    """The model as a checkpoint: to compare, merge or evolve it without a file."""
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(_COUNTS)}
    return Checkpoint.from_tensors(state, config=model.config.to_dict())


def save_ctm(model: CTM, folder: str | Path, *, overwrite: bool = False) -> Checkpoint:
    """Write a model, atomically, and open what was written.

    Args:
        model: The model.
        folder: Where to.
        overwrite: Whether to replace a folder that holds a checkpoint.

    Raises:
        OutputError: If the folder exists and may not be replaced, or cannot be written.
    """
    return save(checkpoint_of(model), folder, overwrite=overwrite)


def push_ctm(model: CTM, name: str, *, private: bool = False) -> str:
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
        save_ctm(model, folder)
        hub = huggingface_hub.HfApi()
        try:
            address = hub.create_repo(name, private=private, exist_ok=True)
            hub.upload_folder(repo_id=name, folder_path=folder)
        except Exception as error:
            raise OutputError(f"{name} could not be uploaded to the hub: {error}") from error
    return str(address)


def _filled(config: CTMConfig, tensors: Mapping[str, Tensor], source: str) -> CTM:
    from merganser.thinking._model import CTM

    model = CTM(config)
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
    model.to(tensors["start_history"].dtype).load_state_dict(dict(tensors), strict=False)
    return model.eval()
