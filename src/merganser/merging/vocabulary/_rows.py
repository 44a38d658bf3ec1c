r"""Which row every token gets: the map from the rows of the result to the rows of the models, as arrays of numbers.

For a token $t$ of the result and a model $m$, with $r_m(t)$ the row that $m$ has for it and $B$ the base:

| case | row of $t$ in the table of $m$ |
| --- | --- |
| $m$ has $t$ | its own, $r_m(t)$ |
| otherwise, if $B$ has it | $r_B(t)$ |
| otherwise | the mean of $r_k(t)$ over the models $k$ that have it; zeros if none has |
| a rule names a source | that source's row, in models that lack $t$; with `force` in all |
| rows without a token | the mean of the rows of $m$'s table that have one |

Every row that is not a model's own is thus a mean over rows of models, of one or of several or of none. A model *has* a
token if its tokenizer gives it a number below the number of rows of its embedding. Where a number has several tokens,
the row is that of the first of them, in the order in which the tokenizer decodes them, that the model has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from merganser.merging.vocabulary._rules import ModelRow, RowOf, TokenRule

NONE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Where the rows of one model's tables come from.

    Args:
        own: For each row of the result, the row of the model itself; -1 where it is filled or has no token.
        filled: The rows that are means over models' rows.
        given: The rows they are means of: one for each model that contributes, -1 for the others.
        is_token: Whether a row has a token; the others become the mean of those that have one.
    """

    own: Int[np.ndarray, " rows"]
    filled: Int[np.ndarray, " filled"]
    given: Int[np.ndarray, "models filled"]
    is_token: Bool[np.ndarray, " rows"]

    def is_identity(self, rows: int) -> bool:
        """Whether a table of so many rows stays what it is."""
        return len(self.own) == rows and bool((self.own == np.arange(rows)).all())


def token_rows(
    tokens: Mapping[str, int], size: int, vocabularies: Sequence[Mapping[str, int]]
) -> Int[np.ndarray, "models rows"]:
    """The row that every model has for every row of the result; -1 where it has none.

    Args:
        tokens: Number of each token of the result, in order of precedence.
        size: Rows of the result.
        vocabularies: Number of each token that a model has.
    """
    ids = np.fromiter(tokens.values(), np.int64, len(tokens))
    found = np.full((len(vocabularies), size), NONE, np.int64)
    for row, vocabulary in zip(found, vocabularies, strict=True):
        own = np.fromiter((vocabulary.get(token, NONE) for token in tokens), np.int64, len(tokens))
        has = own != NONE
        row[ids[has][::-1]] = own[has][::-1]  # of several, numpy keeps the last
    return found


def plan_rows(
    tokens: Mapping[str, int],
    size: int,
    vocabularies: Sequence[Mapping[str, int]],
    *,
    base: int | None,
    rules: Sequence[TokenRule] = (),
) -> tuple[Rows, ...]:
    """Say for every model where the rows of its tables come from.

    Args:
        tokens: Number of each token of the result, in order of precedence; those of the rules among them.
        size: Rows of the result.
        vocabularies: Number of each token that a model has.
        base: Which model is the base, if one is.
        rules: What is said of single tokens; rows that they name must exist.
    """
    rows = token_rows(tokens, size, vocabularies)
    given, forced = rows.copy(), np.zeros(size, bool)
    if base is not None:
        others = np.arange(len(vocabularies)) != base
        given[np.ix_(others, rows[base] != NONE)] = NONE
    for rule in rules:
        token = tokens[rule.token]
        given[:, token], forced[token] = NONE, rule.force
        if isinstance(rule.row, ModelRow):
            given[rule.row.model, token] = vocabularies[rule.row.model][rule.token]
        elif isinstance(rule.row, RowOf):
            given[rule.row.model, token] = row_named(rule.row, vocabularies[rule.row.model])
    is_token = np.zeros(size, bool)
    is_token[np.fromiter(tokens.values(), np.int64, len(tokens))] = True
    return tuple(_rows_of(own, given, forced, is_token) for own in rows)


def row_named(row: RowOf, vocabulary: Mapping[str, int]) -> int:
    """The number of the row that a rule names."""
    return vocabulary[row.token] if row.token_id is None else row.token_id  # pyright: ignore[reportArgumentType]


def _rows_of(
    own: Int[np.ndarray, " rows"],
    given: Int[np.ndarray, "models rows"],
    forced: Bool[np.ndarray, " rows"],
    is_token: Bool[np.ndarray, " rows"],
) -> Rows:
    missing = is_token & (forced | (own == NONE))
    filled = np.flatnonzero(missing)
    return Rows(np.where(missing, NONE, own), filled, given[:, filled], is_token)
