"""The report of a comparison or a series: the folder that either wrote, as one HTML file."""

from __future__ import annotations

from pathlib import Path

from merganser.report._comparison_page import comparison_header, comparison_sections, comparison_title
from merganser.report._decision_found import read_decision
from merganser.report._decision_page import decision_header, decision_sections
from merganser.report._found import SeriesFound, read_found
from merganser.report._page import page
from merganser.report._series_page import series_header, series_sections, series_title
from merganser.weights import atomic_write_text

_NAME = "report.html"


def write_comparison_report(folder: str | Path, path: str | Path | None = None) -> Path:
    """Write what a comparison or a series found as one HTML file that needs nothing else, not even a network.

    Where a decision followed the comparison, the page begins with it.

    Args:
        folder: Where its `comparison.json` or `series.json` lies.
        path: Where to write; by default `report.html` there. A file that is there is replaced.

    Returns:
        The file.

    Raises:
        RunError: If neither is there, or something there is damaged, or of another version.
        OutputError: If the file cannot be written, or a library that draws is missing.

    Examples:
        >>> import tempfile, torch
        >>> from merganser.comparison import compare
        >>> draws = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> place = tempfile.mkdtemp()
        >>> _ = compare([{"w": draws[0]}, {"w": draws[0] + 0.1 * draws[1]}]).save(place)
        >>> write_comparison_report(place).name
        'report.html'
    """
    found = read_found(folder)
    if isinstance(found, SeriesFound):
        title, header, sections = series_title(found), series_header(found), series_sections(found)
    else:
        title, header, sections = (
            comparison_title(found),
            comparison_header(found),
            comparison_sections(found),
        )
        if (decision := read_decision(folder)) is not None:
            header, sections = decision_header(decision), [*decision_sections(decision), *sections]
    charts = {name: spec for section in sections for name, spec in section.charts.items()}
    target = Path(folder) / _NAME if path is None else Path(path)
    atomic_write_text(target, page(title, [header, *(section.html for section in sections)], charts))
    return target
