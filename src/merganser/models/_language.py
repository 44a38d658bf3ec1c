"""A language model that stays in memory while it becomes one child after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from merganser._errors import CheckpointError
from merganser.merging import MergePlan, default_workers, merged_config
from merganser.models._spoken import SpokenModel
from merganser.models._tokens import Tokens, tokens_of
from merganser.weights import Checkpoint, Execution

if TYPE_CHECKING:
    import torch

    from merganser.models._build import Body
    from merganser.models._memory import Written

_IRRELEVANT = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path", "use_cache")
"""Settings that say nothing of what a model computes; the tokens that frame a text come from the first child."""


class LanguageModel(SpokenModel):
    """A causal language model of transformers whose weights are replaced in place.

    The module is built once (begin with `LanguageModel.of`, or with [`load`][], which writes the weights too); then
    it *becomes* checkpoints and plans of merges. A tensor that is what it was before is not written again.

    Attributes:
        module: The module, of transformers. Its memory belongs to this model.
        places: For each tensor on disk the view of the module's memory where it lives, of its shape on disk.
        names: For each tensor in memory the names on disk of what it is made of: one as a rule, several where
            transformers packs (experts), the same for tensors that are tied.
    """

    def __init__(
        self, body: Body, config: Mapping[str, Any], source: str, tokens: Callable[[], Tokens]
    ) -> None:
        from merganser.models._memory import Memory

        self.module, self.places, self.names = body.module, body.places, body.names
        self.dtype, self.source = body.dtype, source
        self._config, self._tokens_of = dict(config), cache(tokens)
        self._size = sum(place.numel() for place in body.places.values())
        self._memory = Memory(body.places, source)

    @classmethod
    def of(
        cls,
        model: Checkpoint | MergePlan,
        *,
        dtype: str | torch.dtype | None = None,
        device: str = "cpu",
    ) -> LanguageModel:
        """Build the module that fits a checkpoint or the result of a plan; its weights are not written yet.

        Args:
            model: Gives configuration, names, shapes and tokenizer.
            dtype: Element type of its parameters; by default the one that most numbers of the model have.
            device: Where it lives, as torch names it.

        Raises:
            CheckpointError: If it is no causal language model that transformers knows.
            ConfigError: If transformers is not installed.
            ValueError: If torch has no such element type or device.
        """
        from merganser.models._build import build

        is_plan = isinstance(model, MergePlan)
        config = merged_config(model) if is_plan else dict(model.config)
        specs = [t.spec for t in model.targets] if is_plan else [model.spec(name) for name in model]
        source = f"the merge by {model.method_name}" if is_plan else model.source
        body = build(config, specs, source=source, dtype=_torch_type(dtype), device=_checked(device))
        return cls(body, config, source, lambda: tokens_of(model, config))

    def become(self, child: Checkpoint | MergePlan, *, workers: int | None = None) -> Written:
        """Take over the weights of a checkpoint, or of a merge as it is carried out.

        The result is what saving the child in this model's element type and loading it would give, bit for bit.

        Args:
            child: What to become; of this model's architecture.
            workers: Threads that merge; by default one for each processor.

        Raises:
            CheckpointError: If the child is of another architecture, or damaged. The model is of no use then until it
                has become something else.
            ValueError: If a merge method cannot work with what it finds.
        """
        is_plan = isinstance(child, MergePlan)
        self._check_config(merged_config(child) if is_plan else dict(child.config), child)
        if not is_plan:
            return self._memory.copy(child)
        return self._memory.merge(child, Execution(workers or default_workers(), device=str(self.device)))

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return next(iter(self.places.values())).device

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self._size

    def name_on_disk(self, name: str) -> str:
        """What one of the module's parameters is called on disk.

        Args:
            name: Its name in memory, as torch has it.

        Raises:
            ValueError: If it is made of several tensors on disk, or of none.
        """
        names = self.names.get(name, ())
        if len(names) != 1:
            raise ValueError(
                f"Expected a parameter that is one tensor of {self.source}, but {name!r} of "
                f"{type(self.module).__name__} is made of {len(names)} ({', '.join(names[:2])}, …): transformers packs "
                "them. What is measured of it belongs to none of them."
            )
        return names[0]

    @property
    def tokens(self) -> Tokens:
        """Its tokenizer.

        Raises:
            CheckpointError: If the checkpoint that it was built for has none.
        """
        return self._tokens_of()

    def _check_ready(self) -> None:
        if not self._memory.is_whole:
            raise RuntimeError(
                "This model has no weights, or the last ones were not written to the end. Call `become` first."
            )

    def _check_config(self, config: Mapping[str, Any], child: Checkpoint | MergePlan) -> None:
        """Make sure that a child computes what this module does: names and shapes do not tell everything."""
        from merganser.models._build import settings_of

        if essence(config) == essence(self._config):
            return
        mine, its = (essence(settings_of(c, self.source).to_dict()) for c in (self._config, config))
        differing = [key for key in {**mine, **its} if mine.get(key) != its.get(key)]
        if differing:
            key = differing[0]
            whose = child.method_name if isinstance(child, MergePlan) else child.source
            raise CheckpointError(
                f"Expected a child with the configuration of {self.source}, but `{key}` of {whose} is {its.get(key)!r} "
                f"rather than {mine.get(key)!r}. Load a model of its own for it."
            )


def essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a configuration decides what is computed with the weights.

    Examples:
        >>> essence({"dtype": "float32", "rope_theta": 1e4, "text_config": {"use_cache": True}})
        {'rope_theta': 10000.0, 'text_config': {}}
    """
    return {
        key: essence(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in _IRRELEVANT and not str(key).endswith("_token_id")
    }


def _torch_type(dtype: str | torch.dtype | None) -> torch.dtype | None:
    import torch

    found = getattr(torch, str(dtype).removeprefix("torch."), None) if dtype is not None else None
    if dtype is not None and not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ValueError(f"Expected a floating element type such as bfloat16, found {dtype!r}.")
    return found


def _checked(device: str) -> str:
    """The device, if torch can use it here."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"torch has no device {device!r} here: {str(error).splitlines()[0]}") from error
    return device
