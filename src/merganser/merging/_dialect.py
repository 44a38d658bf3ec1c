"""Whose merge methods a name means: our own table, or mergekit's."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from merganser.merging._blueprint import Dialect
from merganser.merging.methods import METHODS, MergeMethod


def method_named(name: str, dialect: Dialect = "merganser") -> type[MergeMethod]:
    """A row of the table of methods.

    Raises:
        ValueError: If there is none of that name, with the one that may have been meant.
    """
    known = methods_of(dialect)
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean `{close[0]}`?" if close else f"Known are {', '.join(known)}."
    raise ValueError(f"There is no merge method `{name}`. {hint}")


def methods_of(dialect: Dialect) -> Mapping[str, type[MergeMethod]]:
    """The table of methods of a dialect."""
    if dialect == "merganser":
        return METHODS
    from merganser.merging.methods.mergekit import MERGEKIT

    return MERGEKIT


def takes_base_as_input(method: str, named: type[MergeMethod]) -> bool:
    """Whether what is a base for a method of mergekit's is one more model for ours."""
    from merganser.merging.methods.mergekit import our_name

    return named.rule.base == "required" and METHODS[our_name(method)].rule.base == "refused"
