"""What a merge says about its vocabulary: whose tokens, and which rows tokens get.

Models are named by their position among those that are merged, so that rules are plain data and part of a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from merganser._errors import ConfigError


@dataclass(frozen=True, slots=True)
class ZeroRow:
    """A row of zeros."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """The row that one model has for the same token.

    Args:
        model: Which model.
    """

    model: int


@dataclass(frozen=True, slots=True)
class RowOf:
    """The row that one model has for a token of its own, named by its text or by its number.

    Args:
        model: Which model.
        token: Its text, as the model's tokenizer has it.
        token_id: Its number: a row of the model's embedding.

    Raises:
        ValueError: If both or neither are given.
    """

    model: int
    token: str | None = None
    token_id: int | None = None

    def __post_init__(self) -> None:
        if (self.token is None) == (self.token_id is None):
            raise ValueError(
                f"A row of model {self.model} must be named by `token` or by `token_id`, one of the two, but "
                f"found {self.token!r} and {self.token_id!r}."
            )


RowSource: TypeAlias = ZeroRow | ModelRow | RowOf


@dataclass(frozen=True, slots=True)
class TokenRule:
    """Which row a token gets in the models that lack it.

    Args:
        token: The token; added to the vocabulary if it is not there.
        row: Where its row comes from.
        force: Whether the models that have the token get that row too.
    """

    token: str
    row: RowSource
    force: bool = False


@dataclass(frozen=True, slots=True)
class VocabularyRules:
    """Whose vocabulary the result has.

    Args:
        source: ``"union"``: the base's tokens, and behind them those of the other models; ``"base"``; or the
            position of the model whose vocabulary it is.
        pad_to_multiple_of: The number of rows is rounded up to a multiple of this.
        tokens: What is said of single tokens.

    Raises:
        ValueError: If the source is none of these, the multiple is not positive, or two rules are about one token.

    Examples:
        >>> rules = VocabularyRules("base", tokens=(TokenRule("<pad>", ZeroRow()),))
        >>> VocabularyRules.from_json(rules.to_json()) == rules
        True
    """

    source: Literal["union", "base"] | int = "union"
    pad_to_multiple_of: int | None = None
    tokens: tuple[TokenRule, ...] = ()

    def __post_init__(self) -> None:
        if self.source not in ("union", "base") and (type(self.source) is not int or self.source < 0):
            raise ValueError(
                f"The source of the vocabulary must be union, base or a model's position, but is {self.source!r}."
            )
        if self.pad_to_multiple_of is not None and self.pad_to_multiple_of < 1:
            raise ValueError(f"`pad_to_multiple_of` must be at least 1, but is {self.pad_to_multiple_of}.")
        named = [rule.token for rule in self.tokens]
        if twice := next((token for token in named if named.count(token) > 1), None):
            raise ValueError(f"There are two rules for the token {twice!r}. Leave one out.")

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "source": self.source,
            "pad_to_multiple_of": self.pad_to_multiple_of,
            "tokens": [
                {"token": rule.token, "row": _row_to_json(rule.row), "force": rule.force}
                for rule in self.tokens
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VocabularyRules:
        """Read the plain form.

        Raises:
            ConfigError: If it is none.
        """
        try:
            rules = tuple(
                TokenRule(_of(str, rule["token"]), _row_from_json(rule["row"]), _of(bool, rule["force"]))
                for rule in data["tokens"]
            )
            multiple = data["pad_to_multiple_of"]
            return cls(data["source"], None if multiple is None else _of(int, multiple), rules)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"Expected the rules of a vocabulary as a recipe holds them, but found {dict(data)!r}: {error}."
            ) from error


def _row_to_json(row: RowSource) -> dict[str, Any]:
    if isinstance(row, ZeroRow):
        return {"kind": "zero"}
    if isinstance(row, ModelRow):
        return {"kind": "model", "model": row.model}
    return {"kind": "token", "model": row.model, "token": row.token, "token_id": row.token_id}


def _row_from_json(data: Mapping[str, Any]) -> RowSource:
    if data["kind"] == "zero":
        return ZeroRow()
    if data["kind"] == "model":
        return ModelRow(_of(int, data["model"]))
    if data["kind"] != "token":
        raise ValueError(f"there is no row of kind {data['kind']!r}")
    token, token_id = data["token"], data["token_id"]
    return RowOf(
        _of(int, data["model"]),
        None if token is None else _of(str, token),
        None if token_id is None else _of(int, token_id),
    )


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):
        raise TypeError(f"expected {kind.__name__}, found {value!r}")
    return value
