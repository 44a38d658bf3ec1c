"""How models are looked at: which layers, what becomes of tokens, how many rows are compared at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from merganser.comparison._relations import FEWEST_ROWS

Reduce: TypeAlias = Literal["mean", "last", "sampled", "all"]
"""What becomes of a text's tokens; padding never counts.

| reduce | rows of a text | models whose tokenizers differ |
| --- | --- | --- |
| `mean` | one: the mean over its tokens | can be compared |
| `last` | one: its last token | can be compared |
| `sampled` | some of its tokens, the same for all models | cannot |
| `all` | every token | cannot |
"""

_REDUCTIONS = ("mean", "last", "sampled", "all")


@dataclass(frozen=True, slots=True)
class View:
    """How models are looked at; models seen through equal views of the same data can be compared.

    Attributes:
        layers: Names of submodules, as torch has them; None for all blocks of a language model.
        reduce: What becomes of tokens.
        rows: Rows of a batch, from 8 on. Memory for each layer is 4 rows² bytes.
        most_tokens: Tokens at which a text is cut.
        sampled: For `sampled`: tokens of a text, all of it if it has fewer.
        seed: Key of which tokens are sampled.
        neighbours: For `cknna` and `mutual_knn`: neighbours of a row; None to leave them out.

    Raises:
        ValueError: If a number or name is out of range.
    """

    layers: tuple[str, ...] | None = None
    reduce: Reduce = "mean"
    rows: int = 128
    most_tokens: int = 256
    sampled: int = 4
    seed: int = 0
    neighbours: int | None = None

    def __post_init__(self) -> None:
        if self.reduce not in _REDUCTIONS:
            raise ValueError(f"`reduce` must be one of {', '.join(_REDUCTIONS)}, but is {self.reduce!r}.")
        for name, least in (("rows", FEWEST_ROWS), ("most_tokens", 1), ("sampled", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, but is {getattr(self, name)}.")
        if self.neighbours is not None and not 1 <= self.neighbours < self.rows:
            raise ValueError(
                f"`neighbours` must be from 1 to rows - 1 = {self.rows - 1}, but is {self.neighbours}."
            )

    @property
    def fewest(self) -> int:
        """Rows that a short last batch must have to count."""
        return max(FEWEST_ROWS, 2 * (self.neighbours or 0))

    @property
    def needs_same_tokens(self) -> bool:
        """Whether rows are tokens, so that all models must read texts as the same ones."""
        return self.reduce in ("sampled", "all")
