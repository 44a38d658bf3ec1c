"""One HTML file that holds everything: style, script, data and the libraries that draw.

A content security policy forbids the page to load anything, so that it cannot even by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from merganser._errors import OutputError
from merganser.report._html import Html, element, inline_script, joined, json_script

# Vega compiles its expressions, which is what 'unsafe-eval' allows; all of them are ours
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def page(
    title: str,
    body: Sequence[Html],
    charts: Mapping[str, dict[str, Any]],
    players: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> str:
    """The whole document.

    Args:
        title: Title of the page.
        body: Its sections.
        charts: Vega-Lite specifications, by the names that [`chart_place`][] was given.
        players: What players of thoughts draw, by the names that [`player`][] was given.

    Raises:
        OutputError: If the library that brings the scripts is missing.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="merganser"),
        element("title", title),
        element("style", Html(_resource("page.css") + (_resource("watch.css") if players else ""))),
    )
    scripts = [json_script(f"spec-{name}", spec) for name, spec in charts.items()]
    scripts += [json_script(f"watch-{name}", data) for name, data in players.items()]
    if charts:
        scripts.append(inline_script(_libraries()))
    if scripts:
        scripts.append(inline_script(_resource("page.js")))
    if players:
        scripts += [inline_script(_resource(name)) for name in ("watch_panels.js", "watch.js")]
    return (
        "<!DOCTYPE html>\n" + element("html", head, element("body", joined(body), *scripts), lang="en") + "\n"
    )


def chart_place(name: str) -> Html:
    """Where the chart of this name will be drawn."""
    missing = element(
        "noscript", "This picture is drawn by the page's own script, which your browser does not run."
    )
    return element("div", missing, class_="chart", id=f"chart-{name}", data_spec=f"spec-{name}")


def _resource(name: str) -> str:
    return resources.files("merganser.report").joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _libraries() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, of the version that altair writes specifications for."""
    try:
        import altair
        import vl_convert
    except ImportError as error:
        raise OutputError(
            f"A report needs altair and vl-convert-python, but {error.name} is missing. "
            "Install them: pip install altair vl-convert-python"
        ) from error
    wanted = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    known = wanted if wanted in vl_convert.get_vegalite_versions() else None
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=known)
