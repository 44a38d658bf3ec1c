"""How every picture looks: one palette and one chart configuration.

Colours are the names of the style sheet's variables, so that light, dark and printed pages need no second
picture. The hues are those of Okabe and Ito, which people with any of the common colour-vision deficiencies
tell apart; lines differ in dash and points in shape as well.

References:
    Okabe, Ito, *Color Universal Design*, 2008, https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

from typing import Any

BLUE, ORANGE, GREEN, PINK = "var(--blue)", "var(--orange)", "var(--green)", "var(--pink)"
SKY, YELLOW, RED, GREY = "var(--sky)", "var(--yellow)", "var(--red)", "var(--grey)"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, RED, GREY)
INK, MUTED, LINE, PAPER = "var(--ink)", "var(--muted)", "var(--line)", "var(--paper)"
MATRIX_COLOUR = (46, 130, 196)
"""Between the blue of the light page and that of the dark one, since a bitmap knows no variables."""

FATES = {"survived": "#0072b2", "dropped": "#c8c8c8", "in conflict": "#d55e00"}
"""Colours of a picture that stands alone, without a page whose variables it could use."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def colours(number: int) -> list[str]:
    """One colour for each of so many things; they repeat after eight."""
    return [PALETTE[k % len(PALETTE)] for k in range(number)]


def chart_config() -> dict[str, Any]:
    """Configuration shared by all charts."""
    return {
        "background": "transparent",
        "font": _FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": MUTED,
            "labelFontSize": 12,
            "titleColor": MUTED,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 8,
            "domain": False,
            "ticks": False,
            "labelPadding": 6,
            "gridColor": LINE,
        },
        "axisX": {"grid": False, "domain": True, "domainColor": LINE, "ticks": True, "tickColor": LINE},
        "legend": {
            "orient": "top",
            "direction": "horizontal",
            "title": None,
            "labelColor": INK,
            "labelFontSize": 12.5,
            "labelLimit": 260,
            "symbolSize": 160,
            "columnPadding": 18,
            "offset": 10,
        },
        "text": {"color": MUTED, "fontSize": 12},
        "rule": {"color": MUTED},
    }
