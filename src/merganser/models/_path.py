"""Language models that follow paths through the blocks of others, which are resident once.

For each path the library builds a module of as many blocks as there are hops, without memory, and every parameter is
then one of a parent. So masks, positions and a cache for each hop are what the library makes them for any model, a
block on the way twice is two modules with one memory, and a path costs no copy of a weight. Scales act as they do in an
export, folded into what attention and MLP add, so that what was scored is what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merganser._errors import CheckpointError
from merganser.merging import LayerPath, check_parents, path_config, seeds_of
from merganser.models._language import LanguageModel, essence
from merganser.models._load import load
from merganser.models._spoken import SpokenModel
from merganser.models._tokens import Tokens
from merganser.weights import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

_STACK = "model.layers"
"""What the modules of all families that paths go through call their blocks."""

_FREE = (
    "num_hidden_layers",
    "layer_types",
    "max_window_layers",
    "vocab_size",
    "tie_word_embeddings",
    "max_position_embeddings",
    "attention_dropout",
    "initializer_range",
)
"""Settings in which parents may differ: the first one's count, they are said block by block, or only training asks."""


class Parents:
    """Language models in memory, each once; begin with [`Parents.of`][].

    Attributes:
        checkpoints: What they were read from.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint], alive: Sequence[LanguageModel]) -> None:
        self.checkpoints = tuple(checkpoints)
        self._blocks = [list(model.module.get_submodule(_STACK).children()) for model in alive]
        self._alive = tuple(alive)

    @classmethod
    def of(
        cls,
        models: Sequence[str | Path | Checkpoint],
        *,
        dtype: str | torch.dtype | None = None,
        device: str = "cpu",
    ) -> Parents:
        """Bring models to life.

        Args:
            models: The models, the one that gives embeddings and head first.
            dtype: Element type of all parameters; by default the one that most numbers of the first model have.
            device: Where they live, as torch names it.

        Raises:
            CheckpointError: If one cannot be read, is of a family that paths do not go through, or blocks differ in
                shape or in what they compute.
            ConfigError: If transformers is not installed.
            ValueError: If there is no model, or torch has no such element type or device.
        """
        if not models:
            raise ValueError("Paths need at least one model to go through, but none was given.")
        checkpoints = [m if isinstance(m, Checkpoint) else open_checkpoint(m) for m in models]
        check_parents(checkpoints)
        alive = [load(checkpoints[0], dtype=dtype, device=device)]
        alive += [load(checkpoint, dtype=alive[0].dtype, device=device) for checkpoint in checkpoints[1:]]
        for checkpoint, model in zip(checkpoints, alive, strict=True):
            _check_alike(alive[0].module, model.module, checkpoints[0].source, checkpoint.source)
        return cls(checkpoints, alive)

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of the models, in their order: the seeds of paths through them."""
        return tuple(checkpoint.digest for checkpoint in self.checkpoints)

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many blocks each has."""
        return tuple(map(len, self._blocks))

    def tokens_of(self, path: LayerPath) -> Tokens:
        """Tokenizer of the model that gives a path's embeddings and head."""
        return self._alive[self._order(path)[0]].tokens

    def module_of(self, path: LayerPath) -> nn.Module:
        """A module that follows a path; its parameters are those of the parents.

        Raises:
            ValueError: If the path is one through other models, or names a block that is not there.
        """
        import torch

        from merganser.models._build import settings_of

        order = self._order(path)
        frame = self._alive[order[0]].module
        settings = settings_of(path_config(path, self.checkpoints), self.checkpoints[order[0]].source)
        had: Any = frame.config
        settings._attn_implementation, settings.dtype = had._attn_implementation, had.dtype
        settings.tie_word_embeddings = had.tie_word_embeddings
        with torch.device("meta"):
            module = type(frame)(settings)
        _share(module, frame, but=_STACK)
        hops: list[Any] = list(module.get_submodule(_STACK).children())
        for hop, part in zip(path.hops, hops, strict=True):
            _share(part, self._blocks[order[hop.model]][hop.block])
        _scale(hops, path)
        return module.eval()

    def _order(self, path: LayerPath) -> list[int]:
        """Which of these models a path's seeds are."""
        found = seeds_of(path, self.checkpoints)
        return [self.digests.index(checkpoint.digest) for checkpoint in found]


class PathModel(SpokenModel):
    """A causal language model that follows a path.

    It *becomes* one path after the other. Any number of them share the memory of their parents.

    Args:
        parents: What it goes through.
        path: Its path.

    Attributes:
        module: The module, of transformers: block `t` of its ``model.layers`` is hop `t`.
        path: The path it follows.
    """

    module: nn.Module
    path: LayerPath

    def __init__(self, parents: Parents, path: LayerPath) -> None:
        self._parents = parents
        self.become(path)

    def become(self, path: LayerPath) -> None:
        """Follow another path; errors are those of `Parents.module_of`."""
        self.module, self.path = self._parents.module_of(path), path

    @property
    def tokens(self) -> Tokens:
        """Tokenizer of the model that gives the path's embeddings and head."""
        return self._parents.tokens_of(self.path)

    @property
    def size(self) -> int:
        """Number of parameters; those of a block that is on the way twice count once."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def _share(target: nn.Module, source: nn.Module, *, but: str | None = None) -> None:
    """Give a module the parameters and buffers of another of its kind, except for those of one part."""
    for name, part in target.named_modules():
        if but is None or not name.startswith(but):
            whose = source.get_submodule(name)
            part._parameters.update(whose._parameters)
            part._buffers.update(whose._buffers)


def _scale(hops: Sequence[Any], path: LayerPath) -> None:
    """Apply a path's scales where an export has them: to what attention and MLP add; nothing is there for a 1."""
    for hop, fold in zip(hops, path.folded(), strict=True):
        for part, factor in ((hop.self_attn, fold.attention), (hop.mlp, fold.mlp)):
            if factor != 1.0:
                part.register_forward_hook(_times(factor))


def _times(factor: float) -> Callable[[Any, Any, Any], Any]:
    def scaled(_module: Any, _args: Any, output: Any) -> Any:
        return (output[0] * factor, *output[1:]) if isinstance(output, tuple) else output * factor

    return scaled


def _check_alike(first: nn.Module, other: nn.Module, here: str, there: str) -> None:
    """Make sure that blocks of two models compute alike; names and shapes do not tell everything."""
    mine, its = (
        {key: value for key, value in essence(settings.to_dict()).items() if key not in _FREE}
        for settings in (_settings(first), _settings(other))
    )
    for key in {**mine, **its}:
        if mine.get(key) != its.get(key):
            raise CheckpointError(
                f"Expected blocks that compute alike, but `{key}` is {mine.get(key)!r} in {here} and "
                f"{its.get(key)!r} in {there}. Use models tuned from one."
            )


def _settings(module: nn.Module) -> Any:
    return module.config
