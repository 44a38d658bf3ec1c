"""JSON objects in what models write around them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_TRIES = 16  # places where an object may begin: answers are written by others, and a scan must end


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, from the left; none lies in another.

    Examples:
        >>> list(objects_in('Here: {"a": {"b": 1}} and {"c": 2} {bad'))
        [{'a': {'b': 1}}, {'c': 2}]
    """
    decoder, place = json.JSONDecoder(), 0
    for _ in range(_TRIES):
        place = text.find("{", place)
        if place < 0:
            return
        try:
            found, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        yield found
