"""Texts of four skills: what models are trained on, and what nobody is trained on but asked.

| skill | context | what follows | from |
| --- | --- | --- | --- |
| plays | a speech | the next one | tinyshakespeare |
| maths | a word problem | its worked solution | GSM8K |
| japanese | a question | the right one of five choices | JCommonsenseQA |
| shop | a page of a shop | what to do there | the shop of `merganser.evaluation.environments` |
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from merganser.evaluation.environments import EpisodePrompt
from merganser.evaluation.environments.shop import (
    Catalogue,
    Goal,
    catalogue,
    goals,
    oracle,
    visit,
)

HERE = Path(__file__).parent
SKILLS = ("plays", "maths", "japanese", "shop")
SEARCHED, TESTED = 40, 160
"""Held-out questions of each skill: for search and validation, and for test. The shop makes its own."""
LONGEST = 200
"""Characters of what follows that are asked for."""
CUSTOMERS = 60
"""How often all products are wished for by others than those who are held out; models of this size learn products by
heart, and do not read the page."""


class Pair(NamedTuple):
    """A text and what follows it.

    Attributes:
        context: The text.
        text: What follows.
    """

    context: str
    text: str


def read_skills(data: Path, out: Path) -> dict[str, list[Pair]]:
    """Texts to train on, by skill; questions that are held out are written to `out`, if they are not there.

    Args:
        data: Folder with `tinyshakespeare`, `gsm8k` and `jcommonsenseqa`, as they are published.
        out: Where questions go: `plays.jsonl`, `plays-test.jsonl` and so on.
    """
    held_out = SEARCHED + TESTED
    found = {"plays": _plays(data), "maths": _maths(data)}
    for skill, pairs in found.items():
        _write(out, skill, [{"question": a, "answer": b[:LONGEST]} for a, b in pairs[:held_out]])
        found[skill] = pairs[held_out:]
    choices = _shuffled(_lines(data / "jcommonsenseqa" / "train-v1.3.json"))
    _write(out, "japanese", choices[:held_out])
    japanese = [Pair(_asked(each), each[f"choice{each['label']}"] + "\n") for each in choices[held_out:]]
    return {**found, "japanese": japanese, "shop": _shop()}


def _plays(data: Path) -> list[Pair]:
    """Speeches, each with the one that follows it: first those that are held out, then all without their speeches."""
    text = next((data / "tinyshakespeare").glob("*.txt")).read_text()
    speeches = [each.strip() for each in text.split("\n\n")]
    fitting = [each for each in speeches if 60 < len(each) < 400]
    asked = _shuffled(list(zip(fitting[::2], fitting[1::2], strict=False)))[: SEARCHED + TESTED]
    held_out = {speech for pair in asked for speech in pair}
    learnt = [pair for pair in itertools.pairwise(speeches) if not held_out & set(pair)]
    return [Pair(a, "\n\n" + b) for a, b in (*asked, *_shuffled(learnt))]


def _maths(data: Path) -> list[Pair]:
    """Problems and worked solutions, without the calculator's marks."""
    problems = _lines(data / "gsm8k" / "train.jsonl")
    solutions = [re.sub(r"<<.*?>>", "", each["answer"].split("####")[0]).strip() for each in problems]
    return _shuffled([Pair(p["question"], " " + s) for p, s in zip(problems, solutions, strict=True)])


def oracle_pairs(found: Catalogue, wanted: Sequence[Goal], prompt: EpisodePrompt) -> list[Pair]:
    """Pages of a shop, and what the oracle does there.

    Args:
        found: What the shop sells.
        wanted: The goals, an episode each.
        prompt: How a page is put.
    """
    turns = [turn for episode in visit(found, wanted, oracle) for turn in episode.turns]
    return [Pair(prompt.text([], turn.observation), prompt.acted(turn.action) + "\n") for turn in turns]


def _shop() -> list[Pair]:
    """What the shop's oracle does on other wishes for the same products; WebShop divides its goals so, too."""
    file = yaml.safe_load((HERE / "shop.yaml").read_text())
    found = catalogue(0, file["products"])
    held_out = {_wish(goal) for goal in goals(found, 0, file["goals"])}
    half = file["products"] // 2
    others = [goal for seed in range(1, CUSTOMERS) for goal in goals(found, seed, half)]
    wanted = [goal for goal in others if _wish(goal) not in held_out]
    prompt = EpisodePrompt(system=file["system"], window=file["window"])
    return _shuffled(oracle_pairs(found, wanted, prompt))


def _wish(goal: Goal) -> tuple[object, ...]:
    """What somebody wants, however they say it."""
    return goal.type, frozenset(goal.attributes), frozenset(goal.options.items())


def _asked(question: dict[str, Any]) -> str:
    template = yaml.safe_load((HERE / "japanese.yaml").read_text())["template"]
    return template.format(question=question["question"])


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _shuffled(found: list[Any]) -> list[Any]:
    random.Random(0).shuffle(found)
    return found


def _write(out: Path, skill: str, questions: Sequence[dict[str, Any]]) -> None:
    for name, part in ((skill, questions[:SEARCHED]), (f"{skill}-test", questions[SEARCHED:])):
        path = out / f"{name}.jsonl"
        if not path.exists():
            path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in part))
