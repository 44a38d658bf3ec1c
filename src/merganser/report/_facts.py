"""The end of the page: settings, facts and what to cite."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from merganser.report._html import Html, element, table
from merganser.report._run_info import Failure, RunInfo
from merganser.report._sections import Section, section
from merganser.report._words import count, duration, percent, shortened

_LISTED_FAILURES = 10
_LONGEST_REASON = 300

NATURAL_NICHES_BIBTEX = """\
@inproceedings{abrantes2025competition,
  title     = {Competition and Attraction Improve Model Fusion},
  author    = {Abrantes, Jo{\\~a}o and Lange, Robert Tjarko and Tang, Yujin},
  booktitle = {Proceedings of the Genetic and Evolutionary Computation Conference (GECCO)},
  year      = {2025},
  doi       = {10.1145/3712256.3726329},
  eprint    = {2508.16204},
  archivePrefix = {arXiv}
}"""


def facts_section(info: RunInfo) -> Section:
    """Facts, settings, parents, failures and citation."""
    parts = [
        _listing(_facts(info)),
        _heading("Parents"),
        _parents(info),
        _heading("Failures"),
        _failures(info.failures),
    ]
    parts += [_heading("Settings"), _listing(_flattened(info.settings.to_json()))]
    if info.settings.search.method == "natural-niches":
        parts += [_heading("Please cite"), element("pre", element("code", NATURAL_NICHES_BIBTEX))]
    return section("facts", "Settings and facts", *parts)


def _facts(info: RunInfo) -> Iterator[tuple[str, str]]:
    full = info.measured + info.saved
    yield "begun", info.created.replace("T", " ")
    yield "time spent", duration(info.seconds)
    yield "evaluations", count(info.evaluations)
    yield "sample scores measured", count(info.measured)
    yield "sample scores saved", f"{count(info.saved)} ({percent(info.saved / full if full else 0.0)})"
    for cause, number in info.savings.causes.items():
        yield f"saved: {cause}", count(number)
    if info.savings.rescored:
        yield "members and finalists scored again", count(info.savings.rescored)
    yield "failed candidates", count(sum(f.candidates for f in info.failures))
    yield "parameters", count(info.size)
    yield "layers", count(len(info.layers))
    for split in info.splits:
        yield f"{split.split} samples", count(split.samples)
    yield "samples dropped as duplicates", count(info.dropped)
    yield "merganser", info.version


def _parents(info: RunInfo) -> Html:
    models = info.settings.models
    paths: tuple[str, ...] = () if isinstance(models, str) else models
    names = [p.name for p in info.parents] or [f"parent {k}" for k in range(len(info.digests))]
    rows = []
    for k, (name, digest) in enumerate(zip(names, info.digests, strict=False)):
        origin = paths[k] if k < len(paths) else str(models)
        rows.append([name, origin, element("code", digest)])
    return table(["name", "from", "digest"], rows, numbers=False)


def _failures(failures: tuple[Failure, ...]) -> Html:
    if not failures:
        return element("p", "No candidate failed.", class_="note")
    rows = [[shortened(f.reason, _LONGEST_REASON), count(f.candidates)] for f in failures[:_LISTED_FAILURES]]
    if len(failures) > _LISTED_FAILURES:
        rest = failures[_LISTED_FAILURES:]
        rows.append([f"{count(len(rest))} other reasons", count(sum(f.candidates for f in rest))])
    return table(["reason", "candidates"], rows)


def _flattened(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings that are set, by their path in the file."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        elif value is not None and value != []:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _listing(pairs: Iterable[tuple[str, str]]) -> Html:
    rows = [element("div", element("dt", key), element("dd", value)) for key, value in pairs]
    return element("dl", *rows, class_="facts")


def _heading(text: str) -> Html:
    return element("h3", text, class_="sub")
