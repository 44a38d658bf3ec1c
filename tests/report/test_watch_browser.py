"""The player of thoughts in a real browser: a script uses it as a reader does, and notes what the page shows."""

import html
import json
import re

import numpy as np
import pytest

from merganser.report import write_thinking_report, write_watch_page
from merganser.thinking.training import Parity, ThinkingTraining, train_thinking
from merganser.thinking.watching import Watched, WatchedThought, wandering_of

from .browser import NEEDS_BROWSER, drawn
from .thoughts import TASKS, thoughts_of

pytestmark = NEEDS_BROWSER

DRIVE = """
const watch = document.querySelector(".watch"), find = (name) => watch.querySelector(name);
const slider = find("input[type=range]"), seen = {};
const strength = (cell) => cell.getAttribute("opacity") || cell.getAttribute("height");
const note = (name) => {
  seen[name] = {
    tick: Number(watch.dataset.tick), sample: Number(watch.dataset.sample), slider: Number(slider.value),
    state: watch.dataset.state, words: find(".status").textContent, cursor: find(".curves .cursor").getAttribute("x1"),
    looks: Array.from(watch.querySelectorAll(".stage .look rect, .stage .seen"), strength),
    route: find(".route") && find(".route").getAttribute("d"),
  };
};
const press = (key, target) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
watch.querySelectorAll(".samples button")[1].click();
slider.value = 2; slider.dispatchEvent(new Event("input", { bubbles: true })); note("dragged");
press("ArrowRight", watch); note("right");
press("Home", slider); note("home");
const heads = watch.querySelectorAll(".options select")[1];
heads.value = "1"; heads.dispatchEvent(new Event("change")); note("head");
press(" ", watch); note("space");
press(" ", watch); note("space again");
find(".toggle").click(); note("playing");
setTimeout(() => { note("played"); document.documentElement.dataset.seen = JSON.stringify(seen); }, 6000);
"""


def driven(page, folder, script=DRIVE):
    """What a script saw that used the page as a reader does."""
    page.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    document = drawn(page, folder)
    root = re.search(r"<html[^>]*>", document)[0]
    assert "data-errors" not in root
    assert "NaN" not in document.split("<script")[0]
    return json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', root)[1]))


@pytest.mark.parametrize("kind", TASKS)
def test_the_player_plays(kind, tmp_path):
    watched = thoughts_of(kind)
    seen = driven(write_watch_page(watched, tmp_path / "watch.html"), tmp_path / "profile")
    second = watched.thoughts[1]
    assert (seen["dragged"]["sample"], seen["dragged"]["tick"], seen["dragged"]["slider"]) == (2, 2, 2)
    sure = f"{100 * second.certainties[1]:.0f}\u202f% sure"
    assert seen["dragged"]["words"].startswith(f"Tick 2 of 4: {sure}")
    assert [seen[name]["tick"] for name in ("right", "home", "played")] == [3, 1, 4]
    states = [seen[name]["state"] for name in ("space", "space again", "playing", "played")]
    assert states == ["playing", "paused", "playing", "paused"]
    assert seen["right"]["cursor"] != seen["dragged"]["cursor"]
    shares = second.attention.mean(axis=1)
    drawn_looks = np.array(seen["right"]["looks"], dtype=float)
    np.testing.assert_allclose(drawn_looks / drawn_looks.max(), shares[2] / shares[2].max(), atol=0.03)
    assert seen["head"]["looks"] != seen["home"]["looks"]
    if watched.kind == "maze":
        expected = wandering_of(second).places[3]
        way = "".join(f"{'L' if k else 'M'}{x + 0.5:g} {y + 0.5:g}" for k, (y, x) in enumerate(expected))
        assert seen["played"]["route"] == way


def test_a_thought_of_one_tick_without_insides_is_shown(tmp_path):
    thought = WatchedThought(
        7, np.zeros((1, 4, 4)), np.array([1]), np.array([[[0.1, 0.9]]]), np.array([0.5]), np.array([0.1])
    )
    page = write_watch_page(Watched("picture", ("no", "yes"), (thought,)), tmp_path / "watch.html")
    script = "document.documentElement.dataset.seen = JSON.stringify(document.querySelector('.status').textContent)"
    said = driven(page, tmp_path / "profile", script)
    assert said == "Tick 1 of 1: 50\u202f% sure; answers yes, which is right."


def test_the_page_of_a_training_has_charts_and_a_player(tmp_path):
    task = Parity(3)
    config = task.config(ticks=3, neurons=24, width=16, memory=3)
    trained = train_thinking(task, config, tmp_path / "t", ThinkingTraining(steps=1, batch=4))
    document = drawn(write_thinking_report(trained, tmp_path / "report.html"), tmp_path / "profile")
    root = re.search(r"<html[^>]*>", document)[0]
    assert 'data-drawn="all"' in root
    assert "data-errors" not in root
    assert "mark-rect" in document[document.index('id="chart-looks"') :].split("</figure>")[0]
    player = document[document.index('class="watch"') :].split("</section>")[0]
    assert "Where it looks, tick after tick" in player
    assert player.count("<title>neuron ") == 24
