"""The licence of what is merged from models under several.

| parents | result |
| --- | --- |
| one takes in all others | that one |
| terms that add up (non-commercial, community) | `other`, with all names |
| one of unknown licence | `unknown` |
| two that clash, or one that forbids changes | refused, unless the user says under which licence |

What takes in what and what clashes: `_terms`. **No legal advice.**
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from merganser.merging.card._licence import UNKNOWN, Licence, licence_named
from merganser.merging.card._terms import clash, known_names, obligation, takes_in


@dataclass(frozen=True, slots=True)
class Verdict:
    """The licence of a merged model.

    Args:
        licence: The licence.
        notes: What whoever merges should know: unknown licences, terms that were not read, clashes overridden.
        obligations: What the parents' licences ask of whoever passes the model on.
    """

    licence: Licence
    notes: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()


def combined(licences: Sequence[tuple[str, Licence]], *, override: str | None = None) -> Verdict:
    """The licence that keeps the terms of all parents.

    Args:
        licences: What messages call each parent, and its licence.
        override: The licence by the user's word: an identifier, or a name of one's own.

    Raises:
        ValueError: If two licences clash or one forbids changed versions, and `override` is not given; or it looks
            like a misspelt identifier.

    Examples:
        >>> combined([("A", Licence("mit")), ("B", Licence("apache-2.0"))]).licence.identifier
        'apache-2.0'
    """
    clashes = _clashes(licences)
    if clashes and override is None:
        raise ValueError(
            f"{' '.join(clashes)} Leave one of them out; or, if you hold other rights to it, say under which licence "
            "the result is: --licence NAME."
        )
    known = [(source, licence) for source, licence in licences if licence != UNKNOWN]
    strictest = _strictest(known) if known else UNKNOWN
    result = strictest if len(known) == len(licences) else UNKNOWN
    notes = [*clashes, *_notes(licences, strictest)]
    if override is not None:
        result = _override(override)
        notes.append(f"The licence is the word of whoever merged: {result.known_as}.")
    asked = (obligation(licence.known_as) for _, licence in licences)
    return Verdict(result, tuple(notes), tuple(dict.fromkeys(text for text in asked if text is not None)))


def _strictest(licences: Sequence[tuple[str, Licence]]) -> Licence:
    """The licence whose terms take in all others; several by their names, since the terms of all hold."""
    distinct = {licence.known_as: licence for _, licence in reversed(licences)}
    names = list(reversed(distinct))
    binding = [name for name in names if not any(takes_in(other, name) for other in names if other != name)]
    return distinct[binding[0]] if len(binding) == 1 else Licence("other", " and ".join(binding))


def _clashes(licences: Sequence[tuple[str, Licence]]) -> list[str]:
    frozen = [
        f"{source} is under {licence.known_as}, which does not allow changed versions to be shared."
        for source, licence in licences
        if licence.kind == "no derivatives"
    ]
    free = [(source, licence) for source, licence in licences if licence.kind != "no derivatives"]
    names = {licence.known_as for _, licence in free}
    seen: dict[tuple[str, str], str] = {}
    for (first, a), (second, b) in combinations(free, 2):
        pair = (a.known_as, b.known_as)
        has_roof = any(takes_in(name, pair[0]) and takes_in(name, pair[1]) for name in names - set(pair))
        if clash(*pair) and not has_roof:
            seen.setdefault(
                pair,
                f"{first} is under {a.known_as} ({a.kind}) and {second} under {b.known_as} ({b.kind}): "
                "a merge of the two cannot keep the terms of both.",
            )
    return frozen + list(seen.values())


def _notes(licences: Sequence[tuple[str, Licence]], strictest: Licence) -> list[str]:
    unknown = [source for source, licence in licences if licence == UNKNOWN]
    unread = [
        f"{source} ({licence.known_as})"
        for source, licence in licences
        if licence.kind == "unread" and licence != UNKNOWN
    ]
    notes = []
    if unknown:
        rest = "" if strictest == UNKNOWN else f" The others ask for {strictest.known_as}."
        notes.append(
            f"Of unknown licence: {', '.join(unknown)}. Ask the authors before passing this on.{rest}"
        )
    if unread:
        notes.append(f"Terms that were not compared with the others: {', '.join(unread)}. Read them.")
    return notes


def _override(name: str) -> Licence:
    licence = licence_named(name)
    close = difflib.get_close_matches(name.lower(), known_names(), n=1, cutoff=0.8)
    if not name.strip() or (close and licence.kind == "unread"):
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"Expected a licence, found {name!r}.{hint} Identifiers: "
            "https://huggingface.co/docs/hub/repositories-licenses"
        )
    return licence
