"""An expert with a description, by which requests find it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from merganser.adaptation._expert import ExpertVector


@final
@dataclass(frozen=True, slots=True, eq=False)
class Specialist:
    """An expert and what it is for.

    Attributes:
        vector: The expert.
        description: What requests it is for, in one sentence.
    """

    vector: ExpertVector
    description: str = ""
