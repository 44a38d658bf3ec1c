"""The section of skills kept and lost: what became of each of several tasks, and of those that were watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from merganser.report._html import Html, element, table
from merganser.report._page import chart_place
from merganser.report._run_info import RunInfo
from merganser.report._sections import Section, section
from merganser.report._skill_chart import is_clear, skill_chart
from merganser.report._words import counted, listed, percent_interval, points
from merganser.run import Skill


def skills_section(info: RunInfo) -> Section | None:
    """Each task of the test by itself; None for runs of one task, and while a run is not finished."""
    if not info.skills:
        return None
    skills = [*info.skills, *(watched.skill for watched in info.watched)]
    names = _names(skills)
    words = (
        f"Beside the parent that is best at each task, on test samples, the winner {_verdict(skills, names)}."
    )
    caption = (
        "Scores with 95 % intervals; beside the winner's its difference to the best parent of the task, in points, "
        "bold where it is more than chance. That parent is found on the same samples, which flatters it a little."
    )
    if info.watched:
        caption += " Watched tasks were never selected on."
    figure = element("figure", chart_place("skills"), element("figcaption", caption))
    chart = skill_chart(
        skills, names, description=f"{words} Each model's score on each task, with its interval."
    )
    parts = (element("p", words), figure, _table(skills, names))
    return section("skills", "Skills kept and lost", *parts, charts={"skills": chart})


def _names(skills: Sequence[Skill]) -> list[str]:
    """What to call the tasks: equal names are numbered."""
    said = [f"{skill.task} (watched)" if skill.watched else skill.task for skill in skills]
    total, met, names = Counter(said), Counter[str](), []
    for name in said:
        met[name] += 1
        names.append(name if total[name] == 1 else f"{name} ({met[name]})")
    return names


def _verdict(skills: Sequence[Skill], names: Sequence[str]) -> str:
    pairs = list(zip(skills, names, strict=True))
    gained = [name for skill, name in pairs if skill.change.low > 0]
    lost = [name for skill, name in pairs if skill.change.high < 0]
    parts = [f"{verb} {listed(some)}" for verb, some in (("gains on", gained), ("loses on", lost)) if some]
    rest = sum(not is_clear(skill) for skill in skills)
    if rest:
        both = "both tasks" if rest == 2 else f"all {rest} tasks"
        which = counted(rest, "task") if parts else both if rest > 1 else "the task"
        parts.append(f"is within chance on {which}")
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def _table(skills: Sequence[Skill], names: Sequence[str]) -> Html:
    rows = [
        [
            name,
            percent_interval(skill.winner),
            skill.best,
            percent_interval(skill.parents[skill.best]),
            f"{points(skill.change.value)} ({points(skill.change.low)} to {points(skill.change.high)})",
        ]
        for skill, name in zip(skills, names, strict=True)
    ]
    return table(["task", "winner", "best parent", "its score", "change, points"], rows)
