"""The section with questions of the test and their answers: what the winner gained and lost, as people read it."""

from __future__ import annotations

from merganser.report._html import Html, element, table
from merganser.report._run_info import RunInfo
from merganser.report._sections import Section, section
from merganser.report._words import counted, percent, shortened
from merganser.run import Answered

_LONGEST = 600


def answers_section(info: RunInfo) -> Section | None:
    """Questions before and after; None for tasks that ask none."""
    if not info.answers:
        return None
    words = (
        f"{counted(len(info.answers), 'question')} of the test: where the winner gains most over every parent, "
        "where it loses most, and some that changed nothing. They are chosen for what they show: how good the winner "
        "is, the final test says."
    )
    asked = (_asked(each, several=len({a.task for a in info.answers}) > 1) for each in info.answers)
    return section("answers", "Questions and answers", element("p", words), *asked)


def _asked(answered: Answered, *, several: bool) -> Html:
    rows = [["expected", answered.expected, ""]] if answered.expected else []
    for name, given in answered.answers.items():
        said = given.response if given.response.strip() else given.reason
        rows.append([name, shortened(said.strip(), _LONGEST), percent(given.score)])
    head = element("h3", _verdict(answered) + (f" · {answered.task}" if several else ""), class_="sub")
    question = element("blockquote", shortened(answered.question, _LONGEST))
    return element("div", head, question, table(["", "answer", "score"], rows, numbers=False), class_="asked")


def _verdict(answered: Answered) -> str:
    *parents, winner = (given.score for given in answered.answers.values())
    return "Gained" if winner > max(parents) else "Lost" if winner < max(parents) else "As the best parent"
