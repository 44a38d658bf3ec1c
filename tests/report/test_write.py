"""One file, complete, harmless, for every kind of run."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

import merganser
from merganser.report import run_info, write_report

SECTIONS = ["progress", "diversity", "wins", "lineage", "shares", "test", "facts"]
HOSTILE = "<script>document.title='owned'</script>"


class Reader(HTMLParser):
    """Elements of a page with their attributes, its data, and the text a person sees."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.data, self._open = [], "", {}, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("img", "meta"):
            self._open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, text):
        tag, attributes = self._open[-1] if self._open else ("", {})
        if tag == "script" and attributes.get("type") == "application/json":
            self.data[attributes["id"]] = json.loads(text)
        elif tag not in ("script", "style"):
            self.text += text

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """The report of a run, parsed; written once."""
    pages = {}

    def report(run):
        if run not in pages:
            pages[run] = Reader(write_report(run, tmp_path_factory.mktemp("page") / "r.html").read_text())
        return pages[run]

    return report


def headings(page):
    return [h["id"] for h in page.all("h2")]


def charts(page):
    return {c["data-spec"] for c in page.all("div") if c.get("class") == "chart"}


def test_all_sections_are_there_in_order(read, combination):
    page = read(combination)
    assert headings(page) == SECTIONS
    assert [s["aria-labelledby"] for s in page.all("section")] == SECTIONS
    assert charts(page) == set(page.data)
    assert {k.removeprefix("spec-") for k in page.data} == {
        "progress",
        "coverage",
        "entropy",
        "lineage",
        "shares",
        "test",
    }


def test_nothing_is_loaded_from_outside(read, combination):
    page = read(combination)
    for tag, attributes in page.elements:
        for name in ("src", "href", "data", "action", "poster", "srcset"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
    assert page.all("link") == []
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert all("url" not in json.dumps(spec.get("data", {})) for spec in page.data.values())


def test_the_style_sheet_loads_nothing(combination):
    page = write_report(combination).read_text()
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_headline_tells_the_result_in_words(read, combination):
    text, info = read(combination).text, run_info(combination)
    assert f"{100 * info.winner.test.value:.1f}\u202f% on samples it never saw" in text
    assert f"{100 * info.gain.value:+.1f} ± {50 * (info.gain.high - info.gain.low):.1f}" in text
    assert "300 evaluations" in text
    assert "not finished" not in text


def test_every_picture_says_in_words_what_it_shows(read, combination):
    page = read(combination)
    assert all(len(spec["description"]) > 30 for spec in page.data.values())
    assert all(len(image["alt"]) > 30 for image in page.all("img"))
    assert len(page.all("figcaption")) == len(page.all("figure"))


def test_an_unfinished_run_says_so_and_how_to_go_on(read, unfinished):
    page = read(unfinished)
    assert headings(page) == SECTIONS
    assert f"merganser runs resume {unfinished}" in page.text
    assert "test samples are still untouched" in page.text
    assert "spec-test" not in page.data
    assert "best so far" in json.dumps(page.data["spec-lineage"])


def test_figures_of_a_run_on_subsets_are_called_estimates(read, halfway, runs):
    page, info = read(halfway), run_info(halfway)
    assert 95 <= info.estimate.samples < 1150
    assert f"so far ({info.estimate})" in page.text
    assert (
        "Search scores before the end are estimates: children were scored on 95 or more of 1,150" in page.text
    )
    assert "members and finalists scored again" in page.text
    whole = read(runs("subsets", budget=60, subset={"samples": 100, "every": 20}))
    assert "so far (estimate" not in whole.text
    assert "Search scores before the end are estimates" in whole.text
    assert "saved: subsets" in whole.text


def test_a_dense_run_says_why_it_has_no_shares(read, dense):
    page = read(dense)
    assert headings(page) == SECTIONS
    assert "no position belongs to a seed" in page.text
    assert "spec-shares" not in page.data


@pytest.mark.parametrize("method", ["ga", "map-elites", "cma-es", "random", "brute-force"])
def test_every_search_has_a_report(read, runs, method):
    page = read(runs(method, search=method, budget=60))
    assert headings(page) == SECTIONS
    assert "spec-progress" in page.data
    assert "Abrantes" not in page.text


def test_a_search_of_natural_niches_names_the_paper(read, combination):
    assert "2508.16204" in read(combination).text


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_a_run_of_hardly_any_evaluations_has_a_report(read, runs, budget):
    page = read(runs(f"tiny-{budget}", budget=budget))
    assert headings(page) == SECTIONS


def test_a_run_that_accepted_no_child_shows_its_parents(read, edited):
    run = edited(
        "UPDATE children SET accepted = 0 WHERE kind != 'seed'",
        "UPDATE meta SET value = '[0, 1]' WHERE key = 'members'",
        "DELETE FROM results",
    )
    page = read(run)
    assert "no child surpassed it" in page.text


def test_a_run_killed_before_its_first_member_has_a_report(read, edited):
    tables = ("children", "progress", "results", "scores")
    page = read(
        edited(*(f"DELETE FROM {t}" for t in tables), "DELETE FROM meta WHERE key IN ('members', 'seconds')")
    )
    assert headings(page) == SECTIONS
    assert page.data == {}
    assert "a run that has only begun" in page.text


def test_scores_that_are_not_binary_and_splits_that_are_missing_are_no_trouble(read, graded):
    page = read(graded)
    assert headings(page) == SECTIONS
    assert "graded <b>task</b>" in page.text
    assert "This run has no test samples" in page.text
    assert "Each column is the average of 2 neighbouring samples" in page.text


def test_names_from_outside_stay_text(edited):
    name = HOSTILE.replace("'", "''")
    run = edited(
        f"UPDATE meta SET value = json_set(value, '$[0].name', '{name}') WHERE key = 'parents'",
        f"UPDATE results SET value = json_set(value, '$.parents[0].name', '{name}') WHERE key = 'outcome'",
        "UPDATE tasks SET name = '<img src=x onerror=alert(1)>'",
        "UPDATE children SET failed = '</script><b>boom</b>' WHERE idx = 77",
        "UPDATE meta SET value = json_set(value, '$[0][0]', '<i>layer</i>') WHERE key = 'layers'",
    )
    source = write_report(run).read_text()
    page = Reader(source)
    assert HOSTILE not in source
    assert all("onerror" not in image for image in page.all("img"))
    assert len(page.all("img")) == 1
    assert page.all("b") == page.all("i") == []
    for text in ("</script><b>boom</b>", HOSTILE, "<i>layer</i>", "<img src=x onerror=alert(1)>"):
        assert text in page.text
    assert HOSTILE in json.dumps(page.data["spec-shares"])


def test_episodes_stand_side_by_side_and_stay_text(read, edited, combination):
    told = {
        "goal": "buy <b>shoes</b>",
        "episodes": [
            {
                "model": "winner",
                "score": 1,
                "reason": "",
                "turns": [["a page", "click[x]"]],
                "last": "bought",
            },
            {
                "model": "first",
                "score": 0,
                "reason": "not done after 2 steps",
                "turns": [["a page", ""], ["a page", HOSTILE]],
                "last": "a page",
            },
        ],
    }
    row = json.dumps([told]).replace("'", "''")
    page = Reader(write_report(edited(f"REPLACE INTO results VALUES ('episodes', '{row}')")).read_text())
    assert headings(page) == [*SECTIONS[:-1], "episodes", SECTIONS[-1]]
    assert page.all("b") == []
    for text in (
        "1. buy <b>shoes</b>",
        "click[x]",
        "(nothing)",
        "not done after 2 steps",
        HOSTILE,
        "> click[x]",
    ):
        assert text in page.text
    assert len(page.all("details")) == 2 + len(read(combination).all("details"))


def test_the_report_lies_in_the_run_unless_told_otherwise(combination, tmp_path):
    assert write_report(combination) == combination / "report.html"
    assert write_report(str(combination), tmp_path / "new" / "r.html") == tmp_path / "new" / "r.html"
    assert merganser.write_report is write_report


def test_two_reports_of_one_run_are_equal(combination, tmp_path):
    pages = [write_report(combination, tmp_path / f"{k}.html").read_bytes() for k in range(2)]
    assert pages[0] == pages[1]


def test_the_file_stays_small(combination):
    assert write_report(combination).stat().st_size < 1.5e6


def test_what_is_no_run_leaves_no_report(tmp_path):
    with pytest.raises(merganser.RunError, match="no run directory"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_output_error(combination, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(merganser.OutputError):
        write_report(combination, tmp_path / "file" / "r.html")


def test_a_missing_library_is_named_with_the_command_that_brings_it(combination, tmp_path, monkeypatch):
    from merganser.report import _page

    _page._libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(merganser.OutputError, match="pip install altair vl-convert-python"):
        write_report(combination, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_importing_the_room_loads_nothing_that_draws():
    code = "import sys, merganser.report; print([m for m in ('altair', 'vl_convert', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_colours_are_named_in_one_place_only():
    from pathlib import Path

    import merganser.report as room

    for file in Path(room.__file__).parent.glob("_*.py"):
        if file.name != "_theme.py":
            assert not re.search(r"#[0-9a-fA-F]{6}", file.read_text()), file.name
