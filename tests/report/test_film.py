"""Films of thoughts, read back with Pillow."""

import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from merganser import OutputError
from merganser._errors import ConfigError
from merganser.report import write_film
from merganser.report._film_frame import SIZE
from merganser.report._film_pen import BLUE, ORANGE
from merganser.report._film_stage import STAGES

from .thoughts import TASKS, thoughts_of


def frames(path):
    with Image.open(path) as film:
        for k in range(film.n_frames):
            film.seek(k)
            yield np.asarray(film.convert("RGB")).astype(int)


def near(frame, colour):
    """How many pixels are about of a colour."""
    return int((np.abs(frame - np.array(colour)).max(axis=-1) < 30).sum())


@pytest.mark.parametrize("kind", TASKS)
def test_a_film_shows_tick_after_tick(kind, tmp_path):
    watched = thoughts_of(kind)
    first = replace(watched, thoughts=watched.thoughts[:1])
    seen = list(frames(write_film(first, tmp_path / "film.gif", fps=5)))
    assert len(seen) == 4  # equal ones at the end are one
    assert seen[0].shape == (SIZE[1], SIZE[0], 3)
    assert near(seen[3][:, SIZE[0] // 2 :], BLUE) > near(seen[0][:, SIZE[0] // 2 :], BLUE)  # curves grow
    assert all((one != other).any() for one, other in pairwise(seen))


def test_every_kind_of_input_is_drawn():
    assert set(STAGES) == set(TASKS)


def test_thoughts_follow_each_other_or_stand_side_by_side(tmp_path):
    watched = thoughts_of("maze")
    after = list(frames(write_film(watched, tmp_path / "after.gif")))
    beside = list(frames(write_film(watched, tmp_path / "beside.gif", tile=True)))
    assert (len(after), len(beside)) == (12, 4)
    assert beside[0].shape == (2 * SIZE[1], 2 * SIZE[0], 3)
    assert near(beside[2][: SIZE[1], SIZE[0] :], ORANGE) == pytest.approx(near(after[6], ORANGE), rel=0.1)


def test_the_last_tick_stays(tmp_path):
    watched = thoughts_of("signs")
    with Image.open(write_film(watched, tmp_path / "film.gif", fps=10)) as film:
        times = []
        for k in range(film.n_frames):
            film.seek(k)
            times.append(film.info["duration"])
    assert times == 3 * [100, 100, 100, 1600]


def test_an_mp4_can_be_read(tmp_path):
    import imageio_ffmpeg

    watched = thoughts_of("picture")
    path = write_film(replace(watched, thoughts=watched.thoughts[:1]), tmp_path / "film.mp4", fps=8)
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == 4 + 12
    assert seconds == pytest.approx(2, abs=0.2)


def test_what_cannot_be_filmed_is_told(tmp_path, monkeypatch):
    watched = thoughts_of("signs")
    with pytest.raises(ConfigError, match=r"Expected a film named \*.gif or \*.mp4, found 'film.avi'"):
        write_film(watched, tmp_path / "film.avi")
    with pytest.raises(ConfigError, match="found 0"):
        write_film(watched, tmp_path / "film.gif", fps=0)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(OutputError, match=r"pip install 'merganser\[film\]', or write a GIF"):
        write_film(watched, tmp_path / "film.mp4")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(OutputError, match=r"A film needs Pillow.*pip install 'merganser\[film\]'"):
        write_film(watched, tmp_path / "film.gif")
