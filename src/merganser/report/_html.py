"""HTML that is escaped unless it says otherwise.

Names of models, tasks and errors come from outside; whatever is no [`Html`][] is text, and is escaped when
it is put into an element.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

_VOID = frozenset({"img", "meta", "br", "hr"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: Any) -> Html:
    """An element; attributes lose a trailing underscore, other underscores become hyphens, None is left out.

    Examples:
        >>> element("p", "a < b", element("b", "!"), class_="note", aria_hidden="true")
        '<p class="note" aria-hidden="true">a &lt; b<b>!</b></p>'
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{joined(children)}</{name}>")


def joined(parts: Iterable[str | None]) -> Html:
    """Parts one after the other, those that are text escaped."""
    return Html("".join(p if isinstance(p, Html) else html.escape(p) for p in parts if p is not None))


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str | None = None, numbers: bool = True
) -> Html:
    """A table whose first column names the row; with `numbers` the other columns are set to the right."""
    top = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", c) for c in rest))
        for first, *rest in rows
    ]
    title = None if caption is None else element("caption", caption)
    inner = element(
        "table", title, element("thead", top), element("tbody", *body), class_="numbers" if numbers else None
    )
    return element("div", inner, class_="scroll")


def json_script(name: str, data: Any) -> Html:
    """Data for the page's script; no text in it can end the element early."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{html.escape(name)}">{text}</script>')


def inline_script(source: str) -> Html:
    """JavaScript inside the page; the two sequences that HTML looks for in scripts are broken up."""
    return Html("<script>" + source.replace("</script", "<\\/script").replace("<!--", "<\\!--") + "</script>")
