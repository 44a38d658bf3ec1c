"""Models on the Hugging Face hub: the files that a checkpoint needs, in the user's own cache.

| found in the repository | fetched |
| --- | --- |
| ``model.safetensors.index.json`` | it and the shards beside it |
| ``model.safetensors``, or one file of another name | that file |
| neither, but ``pytorch_model.bin`` or its index and shards | those |
| an adapter is asked for | ``adapter_config.json`` and ``adapter_model.safetensors``, else ``.bin`` |

With them come the configuration and what a tokenizer needs; nothing from folders inside the repository, where
copies in other formats lie. Cache, token, endpoint and ``HF_HUB_OFFLINE`` are those of huggingface_hub. Where
the hub cannot be reached, or does not say who we are, what the cache holds is used.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from merganser._errors import CheckpointError
from merganser.weights._reference import HubId

Choice: TypeAlias = Callable[[Sequence[str]], list[str]]
"""From the files of a repository to those that are needed; none if it holds no tensors."""

_COMPANIONS = re.compile(
    r"(config|generation_config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|"
    r"vocab|chat_template)\.json|merges\.txt|vocab\.txt|chat_template\.jinja|[^/]*\.(model|tiktoken)|README\.md|"
    r"(LICEN[CS]E|COPYING)(\.(txt|md))?"
)


def fetch(hub_id: HubId, choose: Choice) -> Path:
    """Make sure that the files which are needed lie in the user's cache.

    Args:
        hub_id: The model.
        choose: Which files are needed.

    Returns:
        The folder with one revision of the model: a snapshot, which never changes.

    Raises:
        CheckpointError: If huggingface_hub is not installed, the model does not exist or is not open to the
            user, the hub cannot be reached and the cache lacks it, or it holds no tensors.
    """
    library = _library()
    try:
        # Not `list_repo_files`, which tries for half a minute where there is no network.
        found = library.HfApi().model_info(hub_id.name, revision=hub_id.revision)
    except Exception as error:
        folder = _cached(library, hub_id, error)
        if folder is None:
            raise CheckpointError(_explain(hub_id, error)) from error
        return folder
    files = [file.rfilename for file in found.siblings or ()]
    wanted = [glob.escape(file) for file in choose(files)]
    if not wanted:
        raise CheckpointError(_without_tensors(hub_id, files))
    try:
        return Path(library.snapshot_download(hub_id.name, revision=hub_id.revision, allow_patterns=wanted))
    except Exception as error:
        raise CheckpointError(_explain(hub_id, error)) from error


def model_files(files: Sequence[str]) -> list[str]:
    """The files of a model, safetensors before files of torch's.

    Examples:
        >>> model_files(["model.safetensors", "pytorch_model.bin", "onnx/model.onnx", "config.json", "README.md"])
        ['README.md', 'config.json', 'model.safetensors']
    """
    beside = sorted(file for file in files if "/" not in file)
    weights = (
        _sharded(beside, "model", "safetensors")
        or [file for file in beside if file == "model.safetensors"]
        or _only([file for file in beside if file.endswith(".safetensors")])
        or _sharded(beside, "pytorch_model", "bin")
        or [file for file in beside if file == "pytorch_model.bin"]
    )
    return [*filter(_COMPANIONS.fullmatch, beside), *weights] if weights else []


def adapter_files(files: Sequence[str]) -> list[str]:
    """The files of a PEFT adapter.

    Examples:
        >>> adapter_files(["adapter_config.json", "adapter_model.bin", "adapter_model.safetensors"])
        ['adapter_config.json', 'adapter_model.safetensors']
    """
    weights = [
        f"adapter_model.{suffix}" for suffix in ("safetensors", "bin") if f"adapter_model.{suffix}" in files
    ]
    return ["adapter_config.json", weights[0]] if weights and "adapter_config.json" in files else []


def _sharded(beside: Sequence[str], stem: str, suffix: str) -> list[str]:
    index = f"{stem}.{suffix}.index.json"
    shard = re.compile(rf"{stem}-.*\.{suffix}")
    return [index, *filter(shard.fullmatch, beside)] if index in beside else []


def _only(files: list[str]) -> list[str]:
    return files if len(files) == 1 else []


def _library() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise CheckpointError(
            "Models on the hub need huggingface_hub, which is not installed. "
            "Install it with: pip install 'merganser[hub]'"
        ) from error
    return huggingface_hub


def _cached(library: ModuleType, hub_id: HubId, error: Exception) -> Path | None:
    """The snapshot in the cache, unless the hub has just said that there is no such thing."""
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError | errors.HFValidationError):
        return None
    try:
        # Of what should be there, only the configuration is named: whether the tensors are is seen on opening.
        found = library.snapshot_download(
            hub_id.name, revision=hub_id.revision, allow_patterns=["config.json"], local_files_only=True
        )
    except (OSError, ValueError):
        return None
    return Path(found)


def _explain(hub_id: HubId, error: Exception) -> str:
    from huggingface_hub import errors

    revision = hub_id.revision or "main"
    if isinstance(error, errors.GatedRepoError):
        reason = f"is gated. Accept its conditions on https://huggingface.co/{hub_id.name}, then log in: hf auth login"
    elif isinstance(error, errors.RevisionNotFoundError):
        reason = f"has no revision {revision!r}. Its branches and tags: https://huggingface.co/{hub_id.name}"
    elif isinstance(error, errors.RepositoryNotFoundError):
        reason = (
            "is neither a file or folder here nor a model on the hub. Check the spelling; "
            "if it is private, log in: hf auth login"
        )
    elif isinstance(error, errors.OfflineModeIsEnabled):
        reason = (
            f"is not in the cache at revision {revision!r}, and HF_HUB_OFFLINE forbids to download it. Unset it, "
            "or copy the model into the cache (HF_HOME). There is no file or folder of this name either"
        )
    else:
        first = (str(error) or repr(error)).splitlines()[0]
        reason = (
            f"could not be fetched from the hub ({type(error).__name__}: {first}), and the cache does not hold it "
            f"at revision {revision!r}; nor is there such a file or folder here. Check the connection or the "
            "path and try again; what was fetched so far is kept"
        )
    return f"{hub_id} {reason}."


def _without_tensors(hub_id: HubId, files: Sequence[str]) -> str:
    listed = ", ".join(sorted(files)[:8]) + (", …" if len(files) > 8 else "")
    gguf = next((file for file in sorted(files) if file.endswith(".gguf")), None)
    message = f"{hub_id} on the hub holds no safetensors or torch files of the kind expected, but: {listed}."
    if gguf is not None:
        message += f" For a GGUF download it and give its path: hf download {hub_id.name} {gguf}"
    return message
