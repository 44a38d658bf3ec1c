"""The vocabulary of a merged model: planned from the models' tokenizers, then asked for tables, files and numbers.

| source | tokens of the result |
| --- | --- |
| ``"base"``, or a model | those of its tokenizer that its embedding has rows for, with their numbers |
| ``"union"`` | the base's, and behind them those that only other models have, model after model |

The result has as many rows as its highest number asks for, rounded up to the multiple that the rules name. Rows that
models keep for no token (an embedding may be longer than its tokenizer) are left out.

A token that comes to a tokenizer is written as an *added token* with the flags it had: it is found in a text before the
tokenizer's own rules apply, and literally. For tokens such as ``<|im_start|>`` that is what they are for. An ordinary
piece of another vocabulary is not produced as it was there: ``Ġword`` of a byte-level BPE stands for those five
characters, never for " word". Its row takes part in the merge, and is seldom used. Scores and merges of two tokenizers
cannot be combined without changing how the base's own text is cut, and so how well the base's rows fit it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Int

from merganser._errors import CheckpointError
from merganser.merging.vocabulary._config_ids import adopted, patched
from merganser.merging.vocabulary._rows import NONE, Rows, plan_rows, token_rows
from merganser.merging.vocabulary._rules import ModelRow, RowOf, TokenRule, VocabularyRules
from merganser.merging.vocabulary._source import RearrangedSource
from merganser.merging.vocabulary._tokenizer import Tokenizer, tokenizer_of
from merganser.merging.vocabulary._tokenizer_json import added_entry, flags_of
from merganser.weights import Architecture, Checkpoint

_SHOWN = 3


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """What is known of one of the models.

    Args:
        checkpoint: The model.
        architecture: Its tables.
        rows: Length of its vocabulary's axis.
        tokenizer: Its tokenizer.
        tokens: Number of each token that it has a row for.
    """

    checkpoint: Checkpoint
    architecture: Architecture
    rows: int
    tokenizer: Tokenizer
    tokens: Mapping[str, int]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Member:
        """Read tokenizer and headers of a model.

        Raises:
            CheckpointError: If it has no tokenizer, or no embedding of tokens.
        """
        architecture = Architecture.of(checkpoint)
        rows = architecture.vocabulary
        if rows is None or not architecture.axes:
            raise CheckpointError(
                f"{checkpoint.source} has no embedding of tokens, but its vocabulary is to be matched to that of "
                "the other models. Merge without naming a tokenizer."
            )
        tokenizer = tokenizer_of(checkpoint)
        tokens = {token: number for token, number in tokenizer.ids.items() if number < rows}
        if not tokens:
            raise CheckpointError(
                f"The tokenizer of {checkpoint.source} has no token with a number below {rows}, the rows of its "
                "embedding. Does it belong to another model?"
            )
        return cls(checkpoint, architecture, rows, tokenizer, tokens)

    @property
    def beyond(self) -> list[str]:
        """Tokens of the tokenizer that the model has no row for."""
        return [token for token in self.tokenizer.ids if token not in self.tokens]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The vocabulary of a merged model; made by [`plan_vocabulary`][].

    Args:
        size: Rows of the result's tables.
        tokens: Number of each token, in the order of numbers; of several of one number, that which it decodes to first.
        notes: What people should know of how it came about.
        members: The models.
        rows: For each model, where the rows of its tables come from.
        tokenizer: What is written.
        is_copy: Whether the tokenizer's files are copied as they are.
        source: The model whose vocabulary it is, if it is to be that of one model.
    """

    size: int
    tokens: Mapping[str, int]
    notes: tuple[str, ...]
    members: tuple[Member, ...]
    rows: tuple[Rows, ...]
    tokenizer: Tokenizer
    is_copy: bool
    source: int | None = None

    def aligned(self, index: int) -> Checkpoint:
        """A model with its tables in the order of this vocabulary; the model itself if they are so already.

        Raises:
            CheckpointError: If a row comes from a model that has no table that fits.
        """
        member, rows = self.members[index], self.rows[index]
        if rows.is_identity(member.rows):
            return member.checkpoint
        models = [each.checkpoint for each in self.members]
        architectures = [each.architecture for each in self.members]
        source = RearrangedSource(models, architectures, index, rows)
        return replace(
            member.checkpoint, tensors=source, config=self.patched(member.checkpoint.config, index)
        )

    def patched(self, config: Mapping[str, Any], index: int) -> dict[str, Any]:
        """A model's ``config.json`` or ``generation_config.json`` with this vocabulary's size and numbers.

        Where the vocabulary is that of one model, texts begin and end with the tokens that this model's configuration
        names, whoever's file it is.

        Args:
            config: What the file says.
            index: Whose file it is.
        """
        found = self._renumbered(config, index)
        if self.source is None or self.source == index:
            return found
        owner = self._renumbered(self.members[self.source].checkpoint.config, self.source)
        return adopted(found, owner)

    def _renumbered(self, config: Mapping[str, Any], index: int) -> dict[str, Any]:
        """A model's configuration with the numbers that its tokens have here."""
        moved = self._moved[index]

        def new(number: int) -> int | None:
            found = int(moved[number]) if number < len(moved) else NONE
            return None if found == NONE else found

        return patched(config, new, self.tokenizer.named, (self.members[index].rows, self.size))

    def write(self, folder: Path) -> None:
        """Write the tokenizer's files (those of `TOKENIZER_FILES` that it has) into a folder.

        Raises:
            CheckpointError: If a file that is to be copied cannot be read.
            OutputError: If one cannot be written.
        """
        if self.is_copy:
            self.tokenizer.copy(folder)
        else:
            self.tokenizer.write(folder)

    @cached_property
    def _moved(self) -> tuple[Int[np.ndarray, " rows"], ...]:
        """For every model, the number here of each of its rows; -1 for those of no token that is here."""
        return tuple(token_rows(member.tokens, member.rows, [self.tokens])[0] for member in self.members)


def plan_vocabulary(
    models: Sequence[Checkpoint], rules: VocabularyRules, *, base: int | None = None
) -> Vocabulary:
    """Decide on the vocabulary of a merged model; reads tokenizers and headers.

    Args:
        models: The models, each opened from a folder with a tokenizer.
        rules: Whose tokens, and which rows they get.
        base: Which of them is the base: its tokenizer is the first, and its rows fill those that others lack. Without
            one, the first model's tokenizer is the first, and no model's rows go before others'.

    Raises:
        ValueError: If a rule names a model, token or row that is not there.
        CheckpointError: If a model has no tokenizer, or one that is damaged or cannot be changed as asked.
        ConfigError: If a tokenizer has to be converted and transformers is not installed.
    """
    if not models:
        raise ValueError("Expected at least one model whose vocabulary to take, found none.")
    for index in (base, rules.source):
        if isinstance(index, int) and not 0 <= index < len(models):
            raise ValueError(f"There is no model {index} among {len(models)}; they are counted from 0.")
    members = tuple(Member.of(checkpoint) for checkpoint in models)
    for rule in rules.tokens:
        _check_rule(rule, members)
    first = rules.source if isinstance(rules.source, int) else base or 0
    order = [first, *(i for i in range(len(models)) if i != first)] if rules.source == "union" else [first]
    new = _new_tokens(members, order, rules)
    tokenizer, is_copy = _tokenizer(members, first, new)
    size, notes = _padded(tokenizer, rules), []
    if not is_copy and not tokenizer.verify(size):
        notes.append("The changed tokenizer was not tried: the library `tokenizers` is not installed.")
    tokens = dict(sorted(tokenizer.ids.items(), key=lambda item: item[1]))
    rows = plan_rows(tokens, size, [member.tokens for member in members], base=base, rules=rules.tokens)
    notes = [*_notes(members, first, new, rows), *notes]
    source = rules.source if isinstance(rules.source, int) else None
    return Vocabulary(size, MappingProxyType(tokens), tuple(notes), members, rows, tokenizer, is_copy, source)


def _new_tokens(
    members: Sequence[Member], order: Sequence[int], rules: VocabularyRules
) -> dict[str, int | None]:
    """The tokens that come to those of the first model, and the model each comes from; None for one of a rule alone."""
    known = members[order[0]].tokens
    new: dict[str, int | None] = {}
    for index in order[1:]:
        for token, _ in sorted(members[index].tokens.items(), key=lambda item: item[1]):
            if token not in known:
                new.setdefault(token, index)
    for rule in rules.tokens:
        if rule.token not in known and rule.token not in new:
            new[rule.token] = next(
                (i for i, each in enumerate(members) if rule.token in each.tokenizer.ids), None
            )
    return new


def _tokenizer(
    members: Sequence[Member], first: int, new: Mapping[str, int | None]
) -> tuple[Tokenizer, bool]:
    """The result's tokenizer, and whether it is the first model's as it is."""
    member = members[first]
    if not new and not member.beyond:
        return member.tokenizer, True
    kept = member.tokenizer
    if member.beyond:
        kept = kept.without(set(member.beyond), unnamed=set(member.beyond) - new.keys())
    listings = [member.tokenizer.added, *(each.tokenizer.added for each in members)]
    said = {token: next((added[token] for added in listings if token in added), {}) for token in new}
    entries = [added_entry(token, **flags_of(entry)) for token, entry in said.items()]
    following = max(member.tokens.values()) + 1
    numbers = {token: following + k for k, token in enumerate(new)}
    return kept.with_ids(entries, {**member.tokens, **numbers}), False


def _padded(tokenizer: Tokenizer, rules: VocabularyRules) -> int:
    size, multiple = max(tokenizer.ids.values()) + 1, rules.pad_to_multiple_of or 1
    return -(-size // multiple) * multiple


def _check_rule(rule: TokenRule, members: Sequence[Member]) -> None:
    """Make sure that the row that a rule names is there."""
    if not rule.token:
        raise ValueError("A rule is about the empty token. Name the token it is meant for.")
    row = rule.row
    if not isinstance(row, ModelRow | RowOf):
        return
    if not 0 <= row.model < len(members):
        raise ValueError(
            f"The rule for {rule.token!r} takes a row of model {row.model}, but there are {len(members)}, counted "
            "from 0."
        )
    member = members[row.model]
    number = row.token_id if isinstance(row, RowOf) else None
    if number is not None:
        if not 0 <= number < member.rows:
            raise ValueError(
                f"The rule for {rule.token!r} takes row {number} of {member.checkpoint.source}, which has "
                f"{member.rows} rows."
            )
        return
    token = rule.token if isinstance(row, ModelRow) else row.token
    if token not in member.tokens:
        raise ValueError(
            f"The rule for {rule.token!r} takes the row of {token!r} in {member.checkpoint.source}, whose "
            "vocabulary does not have it. Name another token, or another model."
        )


def _notes(
    members: Sequence[Member], first: int, new: Mapping[str, int | None], rows: Sequence[Rows]
) -> list[str]:
    """What people should know of how a vocabulary came about."""
    names = [member.checkpoint.source for member in members]
    notes = [f"The vocabulary is that of {names[first]}: {_count(members[first].tokens, 'token')}."]
    for index in dict.fromkeys(new.values()):
        tokens = [token for token, origin in new.items() if origin == index]
        origin = "the rules" if index is None else names[index]
        notes.append(f"{_count(tokens, 'token')} of {origin} appended: {_some(tokens)}.")
    pieces = [t for t, i in new.items() if i is not None and t not in members[i].tokenizer.added]
    if pieces:
        notes.append(
            f"{_count(pieces, 'appended token')} were ordinary pieces of another vocabulary; here they match wherever "
            f"their text stands, before the tokenizer's own rules apply: {_some(pieces)}."
        )
    for name, member in zip(names, members, strict=True):
        if member.beyond:
            notes.append(
                f"{_count(member.beyond, 'token')} of {name} count as missing, as their numbers are beyond the "
                f"{member.rows} rows of its embedding: {_some(member.beyond)}."
            )
    for name, own in zip(names, rows, strict=True):
        if len(own.filled):
            notes.append(f"{_count(own.filled, 'row')} of {name} filled from elsewhere.")
    zeros = {int(row) for own in rows for row in own.filled[(own.given == NONE).all(axis=0)]}
    if zeros:
        notes.append(f"{_count(zeros, 'token')} without a row in any model, or that are to have none: zeros.")
    if padding := int((~rows[0].is_token).sum()):
        notes.append(f"{_count(range(padding), 'row')} without a token: the mean of the others.")
    return notes


def _count(items: Sized, noun: str) -> str:
    return f"{len(items):,} {noun}{'' if len(items) == 1 else 's'}"


def _some(tokens: Iterable[str]) -> str:
    listed = [repr(token) for token in tokens]
    return ", ".join(listed[:_SHOWN]) + (", …" if len(listed) > _SHOWN else "")
