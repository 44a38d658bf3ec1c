"""What `merganser compare --then` prints after the comparison: every way that was tried, and which one to take."""

from __future__ import annotations

from rich.markup import escape

from merganser.cli._output import percent, plain_table, tables, with_interval, words
from merganser.decision import Decision


def show_decision(found: Decision) -> None:
    """A decision as people read it."""
    right = ("validation", "test (95 %)", "beside the best model")
    table = plain_table("way to answer", "kind", *right, right=right)
    for option in sorted(found.options, key=lambda option: -option.test.value):
        cells = (percent(option.validation.value), with_interval(option.test), with_interval(option.beside))
        mark = "[bold]" if option.name == found.taken else ""
        table.add_row(f"{mark}{escape(option.name)}", option.kind, *cells)
    tables.print()
    tables.print(table)
    tables.print()
    for sentence in found.words:
        tables.print(escape(sentence), soft_wrap=True)
    for note in found.notes:
        words.print(note, soft_wrap=True, markup=False)
