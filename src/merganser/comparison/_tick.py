"""How far a comparison is: what the callback `watch` of this room's functions is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

Unit: TypeAlias = Literal["bytes", "texts", "samples", "matrices"]


class Tick(NamedTuple):
    """How far a part of the work is.

    Attributes:
        doing: Which part, in a few words.
        done: How much of it is done.
        total: How much there is to do.
        unit: What is counted.
    """

    doing: str
    done: int
    total: int
    unit: Unit


Watch: TypeAlias = Callable[[Tick], None]


def part(watch: Watch | None, before: int, total: int) -> Watch | None:
    """What a part of a larger piece of work tells: its own ticks become those of the whole.

    Args:
        watch: Told about the whole.
        before: What was done before this part.
        total: What there is to do in all.

    Examples:
        >>> told = []
        >>> part(told.append, 10, 30)(Tick("second", 5, 10, "texts"))
        >>> told[0].done, told[0].total
        (15, 30)
    """
    if watch is None:
        return None
    return lambda tick: watch(tick._replace(done=before + tick.done, total=total))
