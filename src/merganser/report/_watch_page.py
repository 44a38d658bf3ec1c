"""A page with nothing but the player."""

from __future__ import annotations

from pathlib import Path

from merganser.report._html import Html, element
from merganser.report._page import page
from merganser.report._watch_data import player_data
from merganser.report._watch_player import player
from merganser.thinking.watching import Watched
from merganser.weights import atomic_write_text

_WIDER = element("style", Html("body { max-width: 84rem; }"))
_NAME = "thoughts"


def write_watch_page(watched: Watched, path: str | Path, *, title: str = "Watch it think") -> Path:
    """Write thoughts as one HTML file that plays them and needs nothing else, not even a network.

    Args:
        watched: The thoughts.
        path: Where; a file that is there is replaced.
        title: Heading of the page.

    Returns:
        The file.

    Raises:
        OutputError: If the file cannot be written.
    """
    header = element("header", element("p", "Thinking", class_="kicker"), element("h1", title))
    body = [_WIDER, header, player(_NAME, watched)]
    target = Path(path)
    atomic_write_text(target, page(title, body, {}, {_NAME: player_data(watched)}))
    return target
