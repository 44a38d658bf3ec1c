"""Rows of text files: `.jsonl`, `.json`, `.csv`, `.tsv`.

A JSON file is a list of objects, or an object with one list of them. A CSV or TSV file begins with the names of its
columns; one of two columns whose first row names none of those we know has no header, and is questions and answers (as
MGSM is). Cells of a TSV file are taken as they are, quotes included.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from merganser._errors import TaskError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")


class Row(NamedTuple):
    """One row of a file.

    Attributes:
        line: Its line; in a `.json` file its number, from 1.
        values: Cells by column.
    """

    line: int
    values: dict[str, Any]


def read_rows(path: Path, *, encoding: str = "utf-8", known: Collection[str] = ()) -> list[Row]:
    """Rows of a file, by its suffix.

    Args:
        path: The file.
        encoding: How its text is encoded; a byte order mark is skipped.
        known: Names of columns, in lower case, by which a header is recognised.

    Raises:
        TaskError: If it cannot be read, or is not what its suffix says; with the line.
    """
    text = _text(path, encoding)
    if path.suffix == ".jsonl":
        rows = _json_lines(path, text)
    elif path.suffix == ".json":
        rows = _json(path, text)
    elif path.suffix in (".csv", ".tsv"):
        rows = _table(path, text, known)
    else:
        raise TaskError(f"Expected a file of questions ({', '.join(SUFFIXES)}), but found {path}.")
    if not rows:
        raise TaskError(f"{path} holds no questions.")
    return rows


def _text(path: Path, encoding: str) -> str:
    try:
        return path.read_bytes().decode(encoding).removeprefix("\ufeff")
    except OSError as error:
        raise TaskError(f"Cannot read {path}: {error.strerror}.") from error
    except LookupError as error:
        raise TaskError(f"There is no encoding {encoding!r}; Japanese files are often cp932.") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise TaskError(
            f"{path}, line {line}: not {encoding}. Save it as UTF-8, or give its encoding, such as `encoding: cp932`."
        ) from error


def _json_lines(path: Path, text: str) -> list[Row]:
    rows = []
    for line, part in enumerate(text.split("\n"), start=1):
        if part.strip():
            rows.append(_row(path, line, _parse(path, part, line)))
    return rows


def _json(path: Path, text: str) -> list[Row]:
    value = _parse(path, text)
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        if len(lists) != 1:
            raise TaskError(
                f"{path}: expected a list of objects, or one such list in an object, but found {len(lists)} lists."
            )
        value = lists[0]
    if not isinstance(value, list):
        raise TaskError(f"{path}: expected a list of objects, but found {type(value).__name__}.")
    return [_row(path, number, each) for number, each in enumerate(value, start=1)]


def _parse(path: Path, text: str, line: int | None = None) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        at = line or getattr(error, "lineno", 1)
        raise TaskError(f"{path}, line {at}: no JSON: {error}.") from error


def _row(path: Path, line: int, value: Any) -> Row:
    if not isinstance(value, dict):
        raise TaskError(
            f'{path}, line {line}: expected an object such as {{"question": …}}, but found {type(value).__name__}.'
        )
    return Row(line, value)


def _table(path: Path, text: str, known: Collection[str]) -> list[Row]:
    tabs = path.suffix == ".tsv"
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        strict=True,
    )
    rows: list[tuple[int, list[str]]] = []
    try:
        rows.extend((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))
    except csv.Error as error:
        raise TaskError(f"{path}, line {reader.line_num}: {error}.") from error
    if not rows:
        return []
    names = [cell.strip() for cell in rows[0][1]]
    if len(names) == 2 and not {name.lower() for name in names} & set(known):
        names = ["question", "answer"]
    else:
        rows = rows[1:]
    uneven = next(((line, cells) for line, cells in rows if len(cells) != len(names)), None)
    if uneven is not None:
        raise TaskError(
            f"{path}, line {uneven[0]}: {len(uneven[1])} cells, but there are {len(names)} columns."
        )
    return [Row(line, dict(zip(names, cells, strict=True))) for line, cells in rows]
