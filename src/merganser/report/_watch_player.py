"""A player of thoughts: what a model looks at, answers and does inside, tick by tick, drawn by the page's script."""

from __future__ import annotations

from merganser.report._html import Html, element
from merganser.thinking.watching import Watched

_WHAT = {
    "maze": "a maze and names a whole route from the red dot to the green square",
    "signs": "a row of signs and says at each whether the minus signs so far are odd in number",
    "picture": "a picture of something and says what it is",
    "none": "its input and answers",
}


def player(name: str, watched: Watched) -> Html:
    """Where the player of this name will be drawn, and a sentence that says what one sees.

    Args:
        name: That of the page's data.
        watched: What is played.
    """
    ticks = watched.thoughts[0].ticks
    looked = "" if watched.thoughts[0].attention is None else " Blue is where it looks at that moment."
    said = (
        f"The model sees {_WHAT[watched.kind]}, anew at each of {ticks} ticks of thought.{looked} "
        "Press play, or drag the slider, and watch the answer form."
        if ticks > 1
        else f"The model sees {_WHAT[watched.kind]}, at once.{looked}"
    )
    missing = element("noscript", "The player is the page's own script, which your browser does not run.")
    place = element("div", missing, class_="watch", data_watch=f"watch-{name}")
    return element("div", element("p", said), place, class_="watched")
