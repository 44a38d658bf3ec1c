r"""``tokenizer.json`` as data: which token has which number, and how tokens are taken out and put in.

The file holds a *model* (BPE, WordPiece, WordLevel: token to number; Unigram: a list) and a list of *added tokens*,
which are cut out of a text before the model sees it. What numbers added tokens have is not what the file says. With
$n$ entries in the model, the `tokenizers` library numbers those that the model does not have itself $n, n + 1, \dots$
in the order of the file, and it is these numbers that a language model has been trained with. So a vocabulary with gaps
can be written down in one way only: with the added tokens in the model as well, where numbers count (`with_ids`).

Nothing here needs the library.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

Content = dict[str, Any]
"""What a ``tokenizer.json`` holds."""


class MalformedTokenizerError(ValueError):
    """What should be a tokenizer is none; the message reads on after a colon."""


def check(content: Mapping[str, Any]) -> None:
    """Make sure that the parts this module works on are there.

    Raises:
        MalformedTokenizerError: If one is missing, or of another kind.
    """
    model = content.get("model")
    if not isinstance(model, dict):
        raise MalformedTokenizerError("it has no `model`")
    entries, added = model.get("vocab"), content.get("added_tokens") or []
    if model.get("type") == "Unigram" or isinstance(entries, list):
        sound = isinstance(entries, list) and all(
            isinstance(piece, list) and len(piece) == 2 and isinstance(piece[0], str) for piece in entries
        )
    else:
        sound = isinstance(entries, dict) and all(type(i) is int and i >= 0 for i in entries.values())
    if not sound:
        raise MalformedTokenizerError(
            "expected `model.vocab` to give each token a number, or to list tokens and scores"
        )
    if not isinstance(added, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("content"), str) for entry in added
    ):
        raise MalformedTokenizerError("expected `added_tokens` to be a list of tokens with `content`")
    merges = model.get("merges") or []
    if not isinstance(merges, list) or not all(len(_pair(merge)) == 2 for merge in merges):
        raise MalformedTokenizerError("expected each of `model.merges` to be a pair of tokens")


def token_ids(content: Content) -> dict[str, int]:
    """Number of every token, as the library gives them.

    Added tokens come first: where a number has two tokens, it is the added one that the library decodes it to.

    Examples:
        >>> added = [{"content": "</s>", "id": 7}, {"content": "b", "id": 1}]
        >>> token_ids({"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": added})
        {'</s>': 2, 'b': 1, 'a': 0}
    """
    entries = content["model"]["vocab"]
    model = {piece[0]: i for i, piece in enumerate(entries)} if isinstance(entries, list) else entries
    following = len(entries)
    ids: dict[str, int] = {}
    for token in added_tokens(content):
        if token in model:
            ids[token] = model[token]
        else:
            ids[token] = following
            following += 1
    return ids | {token: i for token, i in model.items() if token not in ids}


def added_tokens(content: Content) -> dict[str, dict[str, Any]]:
    """The added tokens in the order of the file, each with what else is said of it."""
    found: dict[str, dict[str, Any]] = {}
    for entry in content.get("added_tokens") or []:
        if entry["content"]:
            found.setdefault(entry["content"], entry)
    return found


def added_entry(token: str, **flags: bool) -> dict[str, Any]:
    """An added token as the file lists it, without its number."""
    said = {flag: flags.get(flag, False) for flag in _FLAGS}
    said["normalized"] = flags.get("normalized", not said["special"])
    return {"content": token, **said}


def flags_of(entry: Mapping[str, Any]) -> dict[str, bool]:
    """What is said of an added token beside its text and number."""
    return {flag: bool(entry[flag]) for flag in _FLAGS if flag in entry}


def without(content: Content, tokens: Collection[str]) -> Content:
    """The same tokenizer without some tokens: the last ones, where it lists its tokens.

    Merges that need one of them go too, and what names one as the token for the unknown or for padding.
    """
    found, gone = copy.deepcopy(content), set(tokens)
    model = found["model"]
    if isinstance(model["vocab"], list):
        model["vocab"] = [piece for piece in model["vocab"] if piece[0] not in gone]
        if isinstance(model.get("unk_id"), int) and model["unk_id"] >= len(model["vocab"]):
            model["unk_id"] = None
    else:
        model["vocab"] = {token: i for token, i in model["vocab"].items() if token not in gone}
    if model.get("type") == "BPE" and model.get("unk_token") in gone:
        model["unk_token"] = None
    if model.get("merges"):
        affix = model.get("continuing_subword_prefix") or ""
        model["merges"] = [merge for merge in model["merges"] if not _touches(merge, gone, affix)]
    if (found.get("padding") or {}).get("pad_token") in gone:
        found["padding"] = None
    found["added_tokens"] = [entry for entry in found["added_tokens"] or [] if entry["content"] not in gone]
    return found


def with_ids(content: Content, entries: Collection[Mapping[str, Any]], ids: Mapping[str, int]) -> Content:
    """The same tokenizer with further added tokens, so that every token has the number that is asked for.

    Args:
        content: The tokenizer.
        entries: The added tokens that come to those it has.
        ids: The number of every token.

    Raises:
        MalformedTokenizerError: If the tokenizer cannot be written with these numbers.
    """
    found = copy.deepcopy(content)
    listed = [*added_tokens(found).values(), *map(dict, entries)]
    for entry in listed:
        entry["id"] = ids[entry["content"]]
    found["added_tokens"] = sorted(listed, key=lambda entry: entry["id"])
    if token_ids(found) != ids and isinstance(found["model"]["vocab"], dict):
        found["model"]["vocab"].update({entry["content"]: entry["id"] for entry in listed})
    if token_ids(found) != ids:
        raise MalformedTokenizerError("its tokens cannot be written with the numbers they have")
    return found


def _pair(merge: Any) -> list[str]:
    """The two halves of a merge, which older files write as one string."""
    halves = merge.split(" ") if isinstance(merge, str) else merge
    return halves if isinstance(halves, list) and all(isinstance(half, str) for half in halves) else []


def _touches(merge: Any, gone: set[str], affix: str) -> bool:
    first, second = _pair(merge)
    return bool({first, second, first + second.removeprefix(affix)} & gone)
