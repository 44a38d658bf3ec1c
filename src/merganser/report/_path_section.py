"""The section of a winner that is a path: how it goes, in words and as a picture."""

from __future__ import annotations

from merganser.report._html import element
from merganser.report._page import chart_place
from merganser.report._path_chart import MOST_LABELS, path_chart
from merganser.report._path_info import PathInfo, path_words
from merganser.report._sections import Section, section

_SCALED = {
    "state": "the whole hidden state that enters the hop",
    "handed": "what the MLP of the hop before hands over",
}


def path_section(info: PathInfo) -> Section:
    """A path hop by hop."""
    words = path_words(info)
    caption = (
        "Each mark is a block at its hop. To the right all blocks of each model: filled where they are on the path, "
        "hollow where they are skipped, with a number where they are taken more than once."
    )
    if any(hop.scale != 1 for hop in info.path.hops):
        caption += (
            f" A scale multiplies {_SCALED[info.path.scaling]}: marks larger than others have scales above 1, smaller "
            "ones below."
        )
        if len(info.path.hops) <= MOST_LABELS:
            caption += " The row over the picture has those that are not 1."
    figure = element("figure", chart_place("path"), element("figcaption", caption))
    chart = path_chart(info, description=f"The winner's path: {words}")
    return section("path", "The winner's path", element("p", words), figure, charts={"path": chart})
