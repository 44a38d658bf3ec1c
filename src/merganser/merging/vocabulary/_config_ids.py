"""Numbers of tokens in a configuration, and what they are in another vocabulary."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

_ONE_OR_SEVERAL = re.compile(r".*_token_(id|ids|index)")
_FRAME = ("bos_token_id", "eos_token_id", "pad_token_id")
_LISTS = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids")


def patched(
    config: Mapping[str, Any],
    moved: Callable[[int], int | None],
    role: Callable[[str], int | None],
    sizes: tuple[int, int],
) -> dict[str, Any]:
    """A configuration that means the same tokens by other numbers.

    Keys that hold numbers of tokens are known by their names: ``*_token_id``, ``*_token_index`` and a few lists, in
    parts such as ``text_config`` too. A number of no token of the result is left out of lists; one that stands alone
    becomes that of the token with the same role in the result's tokenizer, or else None. Negative numbers, which
    stand for "no token", stay.

    Args:
        config: ``config.json`` or ``generation_config.json``.
        moved: New number of a token; None if the result does not have it.
        role: Number of the result's token of a role, such as ``"eos_token"``.
        sizes: Rows before and after: a ``vocab_size`` that is the one becomes the other.

    Examples:
        >>> config = {"vocab_size": 9, "eos_token_id": [2, 8], "text_config": {"pad_token_id": 8}}
        >>> patched(config, {2: 0}.get, {"pad_token": 1}.get, (9, 5))
        {'vocab_size': 5, 'eos_token_id': [0], 'text_config': {'pad_token_id': 1}}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key == "vocab_size" and value == sizes[0]:
            found[key] = sizes[1]
        elif _ONE_OR_SEVERAL.fullmatch(key) or key in _LISTS:
            new = _moved(value, moved)
            lost = value is not None and (new is None or new == [])
            found[key] = role(re.sub(r"_(id|ids|index)$", "", key)) if lost else new
        elif key.endswith("_config") and isinstance(value, Mapping):
            found[key] = patched(value, moved, role, sizes)
        else:
            found[key] = copy.deepcopy(value)
    return found


def adopted(config: Mapping[str, Any], owner: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose texts begin, end and are filled up with the tokens that another names.

    Examples:
        >>> adopted({"eos_token_id": 2, "text_config": {"pad_token_id": 0}}, {"eos_token_id": 7, "pad_token_id": 5})
        {'eos_token_id': 7, 'text_config': {'pad_token_id': 5}}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key in _FRAME and owner.get(key) is not None:
            found[key] = owner[key]
        elif key.endswith("_config") and isinstance(value, Mapping):
            inner = owner.get(key)
            found[key] = adopted(value, {**owner, **inner} if isinstance(inner, Mapping) else owner)
        else:
            found[key] = value
    return found


def _moved(value: Any, moved: Callable[[int], int | None]) -> Any:
    if isinstance(value, list):
        several = [_phrase(each, moved) if isinstance(each, list) else _moved(each, moved) for each in value]
        return [each for each in several if each is not None]
    return moved(value) if type(value) is int and value >= 0 else value


def _phrase(numbers: list[Any], moved: Callable[[int], int | None]) -> list[Any] | None:
    """Tokens that mean something together; None if one is gone."""
    found = [_moved(number, moved) for number in numbers]
    return None if None in found else found
