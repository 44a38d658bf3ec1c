"""Who answers which request, where one module can speak as several."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Take: TypeAlias = Callable[[Sequence[Hashable]], None]
"""Makes a module speak with these voices, one for each row of what it reads next."""


@dataclass(frozen=True, slots=True)
class Voices:
    """A voice for each request of a call.

    Requests are computed in batches that are sorted by length and shrink; before each pass the module is told who
    speaks in which row. What rows of one voice begin with is read once for all of them.

    Attributes:
        names: The voice of each request, in their order.
        take: Makes the module speak with these voices, one for each row of what it reads next.
    """

    names: Sequence[Hashable]
    take: Take
