"""What two models differ in before a weight is read: architecture, settings, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from merganser._errors import CheckpointError, ConfigError
from merganser.merging import Tokenizer, tokenizer_of
from merganser.weights import Architecture, Checkpoint, misfit

_TEXT_PARTS = ("text_config", "llm_config", "language_config")
_NOT_COMPUTED = (
    "_name_or_path", "architectures", "dtype", "initializer_range", "torch_dtype", "transformers_version",
    "use_cache", "vocab_size",
)  # fmt: skip
_RULES = ("model", "normalizer", "pre_tokenizer")
_WHAT = {
    "model_type": "family",
    "hidden_size": "width",
    "intermediate_size": "width of the MLP",
    "num_attention_heads": "attention heads",
    "num_key_value_heads": "heads of keys and values",
}

_SIZES = ("blocks", "parameters", "rows for tokens")


class Difference(NamedTuple):
    """One thing that two models differ in.

    Args:
        what: The thing.
        first: What it is in the first model; None where that does not say.
        second: What it is in the second.
    """

    what: str
    first: Any
    second: Any

    def __str__(self) -> str:
        sides = (
            "unsaid" if side is None else f"{side:,}" if isinstance(side, int) else f"{side}"
            for side in self[1:]
        )
        return f"{self.what}: {' against '.join(sides)}"


@dataclass(frozen=True, slots=True)
class TokenOverlap:
    """How much two tokenizers have in common.

    Args:
        first: Tokens of the first.
        second: Tokens of the second.
        shared: Tokens that both have.
        same_ids: Those of them that have the same number in both.
        same_rules: Whether both cut text by the same rules.
    """

    first: int
    second: int
    shared: int
    same_ids: int
    same_rules: bool

    @property
    def is_same(self) -> bool:
        """Whether texts become the same numbers."""
        return self.first == self.second == self.same_ids and self.same_rules

    def __str__(self) -> str:
        if self.is_same:
            return f"tokenizer: the same, {self.first:,} tokens"
        rules = "" if self.same_rules else "; text is cut by different rules"
        shared = f"{self.shared:,} are shared, {self.same_ids:,} with the same id"
        return f"tokenizer: {self.first:,} against {self.second:,} tokens, of which {shared}{rules}"


@dataclass(frozen=True, slots=True)
class Differences:
    """What two models differ in.

    Args:
        architecture: Architecture and settings; empty if they are the same.
        tokens: Their tokenizers; None if one has none that can be read.
        misfit: Why the blocks of one do not fit the other; None if they do.
    """

    architecture: tuple[Difference, ...]
    tokens: TokenOverlap | None
    misfit: str | None

    @property
    def settings(self) -> tuple[Difference, ...]:
        """Those that are no matter of shapes: what weights of one mean may differ in the other."""
        return tuple(each for each in self.architecture if each.what not in _SIZES)

    @property
    def words(self) -> tuple[str, ...]:
        """All of them, a line each."""
        tokens = () if self.tokens is None else (str(self.tokens),)
        return (*map(str, self.architecture), *tokens)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        tokens = self.tokens and {name: getattr(self.tokens, name) for name in TokenOverlap.__slots__}
        return {
            "architecture": [each._asdict() for each in self.architecture],
            "tokenizer": tokens,
            "misfit": self.misfit,
        }


def differences_between(first: Checkpoint, second: Checkpoint) -> Differences:
    """Compare configurations, names, shapes and tokenizers; no weight is read.

    Args:
        first: A model.
        second: Another.

    Raises:
        CheckpointError: If a configuration contradicts the weights beside it.

    Examples:
        >>> import numpy as np
        >>> small, large = (
        ...     Checkpoint.from_tensors({f"layers.{i}.w": np.ones((2, 2), "float32") for i in range(depth)})
        ...     for depth in (2, 3)
        ... )
        >>> differences_between(small, large).words
        ('blocks: 2 against 3', 'parameters: 8 against 12')
    """
    traits = [_traits(model) for model in (first, second)]
    found = [Difference(what, *(each.get(what) for each in traits)) for what in {**traits[0], **traits[1]}]
    tokenizers = [_tokenizer(model) for model in (first, second)]
    return Differences(
        tuple(each for each in found if each.first != each.second),
        None if None in tokenizers else _overlap(*(each for each in tokenizers if each is not None)),
        _misfit(first, second),
    )


def _traits(model: Checkpoint) -> dict[str, Any]:
    """What a model is, the most telling first."""
    architecture = Architecture.of(model)
    settings = _settings(model.config)
    named = {what: settings.pop(key, None) for key, what in _WHAT.items()}
    counts = (len(architecture.blocks), model.layout.size, architecture.vocabulary)
    sizes = dict(zip(_SIZES, counts, strict=True))
    return {
        "family": named.pop("family"),
        **sizes,
        **named,
        **{f"`{key}`": settings[key] for key in sorted(settings)},
    }


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says of what is computed, that of the part for text flat with the rest."""
    parts = (config.get(name) for name in _TEXT_PARTS)
    text = next((part for part in parts if isinstance(part, Mapping)), {})
    flat = {**{key: value for key, value in config.items() if key not in _TEXT_PARTS}, **text}
    return {
        key: value
        for key, value in flat.items()
        if key not in _NOT_COMPUTED and not key.endswith("_token_id") and value is not None
    }


def _misfit(first: Checkpoint, second: Checkpoint) -> str | None:
    """Why blocks do not fit; in models without any, all tensors."""
    names = [name for model in (first, second) for layer in model.layers for name in layer.tensors
             if layer.kind == "block"] or [*first.layout.names, *second.layout.names]  # fmt: skip
    return next((why for name in dict.fromkeys(names) if (why := misfit(name, first, second))), None)


def _tokenizer(model: Checkpoint) -> Tokenizer | None:
    """A model's tokenizer; None if it has none that can be read here."""
    try:
        return tokenizer_of(model)
    except (CheckpointError, ConfigError):
        return None


def _overlap(first: Tokenizer, second: Tokenizer) -> TokenOverlap:
    shared = first.ids.keys() & second.ids.keys()
    return TokenOverlap(
        len(first.ids),
        len(second.ids),
        len(shared),
        sum(first.ids[token] == second.ids[token] for token in shared),
        all(first.content.get(rule) == second.content.get(rule) for rule in _RULES),
    )
