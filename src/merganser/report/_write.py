"""`merganser.write_report`: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path

from merganser.report._answers import answers_section
from merganser.report._episodes import episodes_section
from merganser.report._facts import facts_section
from merganser.report._fronts import fronts_info
from merganser.report._headline import headline, page_title
from merganser.report._lineage import lineage_info
from merganser.report._page import page
from merganser.report._path_info import path_info
from merganser.report._path_section import path_section
from merganser.report._run_info import run_info
from merganser.report._sections import (
    Section,
    diversity_section,
    front_section,
    lineage_section,
    progress_section,
    share_section,
    test_section,
    watch_section,
    wins_section,
)
from merganser.report._shares import share_info
from merganser.report._skills import skills_section
from merganser.report._wins import win_info
from merganser.run import RunDirectory
from merganser.weights import atomic_write_text


def write_report(run: str | Path, path: str | Path | None = None) -> Path:
    """Write what a run found as one HTML file that needs nothing else, not even a network.

    Works on finished runs, and on runs that were interrupted or still go on.

    Args:
        run: The run directory.
        path: Where to write; by default `report.html` in the run. A file that is there is replaced.

    Returns:
        The file.

    Raises:
        RunError: If `run` is no run directory, or one of another schema.
        OutputError: If the file cannot be written, or a library that draws is missing.

    Examples:
        >>> import merganser, tempfile
        >>> place = tempfile.mkdtemp() + "/run"
        >>> outcome = merganser.evolve("specialists", "digits", budget=30, run=place)
        >>> write_report(place).name
        'report.html'
    """
    info = run_info(run)
    way = path_info(info)
    target = RunDirectory(Path(run)).report_path if path is None else Path(path)
    sections: list[Section] = [
        progress_section(info),
        diversity_section(info),
        *(each for each in [front_section(info, fronts_info(info))] if each is not None),
        wins_section(info, win_info(info)),
        lineage_section(info, lineage_info(info)),
        share_section(info, share_info(info)) if way is None else path_section(way),
        test_section(info),
        *(
            each
            for each in (
                skills_section(info),
                answers_section(info),
                episodes_section(info),
                None if info.skills else watch_section(info),
            )
            if each is not None
        ),
        facts_section(info),
    ]
    charts = {name: spec for section in sections for name, spec in section.charts.items()}
    body = [headline(info), *(section.html for section in sections)]
    atomic_write_text(target, page(page_title(info), body, charts))
    return target
