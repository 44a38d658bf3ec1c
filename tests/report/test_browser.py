"""In a real browser, without a network, every picture is drawn and no script fails."""

import re

from merganser.report import run_info, write_comparison_report, write_report
from merganser.report._words import points

from .browser import NEEDS_BROWSER, drawn

pytestmark = NEEDS_BROWSER


def chart(page, name):
    return page[page.index(f'id="chart-{name}"') :].split("</figure>")[0]


def test_every_chart_is_drawn_and_no_script_fails(combination, tmp_path):
    page = drawn(write_report(combination, tmp_path / "r.html"), tmp_path / "profile")
    root = re.search(r"<html[^>]*>", page)[0]
    assert 'data-drawn="all"' in root
    assert "data-errors" not in root
    for name in ("progress", "coverage", "entropy", "lineage", "shares", "test"):
        assert "<svg" in chart(page, name), name
        assert "mark-" in chart(page, name), name
    assert "NaN" not in "".join(re.findall(r' d="[^"]*"', page))


def test_a_path_is_drawn_with_its_legend_and_its_scales(of_paths, tmp_path):
    page = drawn(write_report(of_paths(), tmp_path / "r.html"), tmp_path / "profile")
    assert "data-errors" not in re.search(r"<html[^>]*>", page)[0]
    picture = chart(page, "path")
    assert "NaN" not in picture
    for text in ("classes 0-4", "classes 5-9", "0.90"):
        assert f">{text}</text>" in picture


def test_skills_are_drawn_with_the_change_beside_the_winner(several, tmp_path):
    page = drawn(write_report(several, tmp_path / "r.html"), tmp_path / "profile")
    assert "data-errors" not in re.search(r"<html[^>]*>", page)[0]
    picture = chart(page, "skills")
    assert "NaN" not in picture
    for skill in run_info(several).skills:
        assert f">{points(skill.change.value)}</text>" in picture


def test_a_hostile_name_is_shown_and_not_run(edited, tmp_path):
    name = "<script>document.documentElement.dataset.owned = 1</script>"
    run = edited(
        f"UPDATE results SET value = json_set(value, '$.parents[0].name', '{name}') WHERE key = 'outcome'"
    )
    page = drawn(write_report(run, tmp_path / "r.html"), tmp_path / "profile")
    root = re.search(r"<html[^>]*>", page)[0]
    assert "data-owned" not in root
    assert "data-errors" not in root
    assert "&lt;script&gt;" in chart(page, "test")


def test_a_run_of_one_evaluation_draws_without_errors(runs, tmp_path):
    page = drawn(write_report(runs("tiny-1", budget=1), tmp_path / "r.html"), tmp_path / "profile")
    root = re.search(r"<html[^>]*>", page)[0]
    assert "data-errors" not in root
    assert "<svg" in chart(page, "progress")


def test_every_picture_of_a_comparison_and_of_a_series_is_drawn(compared, series, tmp_path):
    for folder, names in ((compared[1], ("similarity", "line", "gain")), (series[1], ("scores", "likeness"))):
        page = drawn(write_comparison_report(folder, tmp_path / "r.html"), tmp_path / "profile")
        root = re.search(r"<html[^>]*>", page)[0]
        assert 'data-drawn="all"' in root
        assert "data-errors" not in root
        for name in names:
            assert "mark-" in chart(page, name), name
        assert "NaN" not in "".join(re.findall(r' d="[^"]*"', page))
