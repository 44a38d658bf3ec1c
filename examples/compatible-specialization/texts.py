"""Two domains of real text, what a base knows of everything, and a target that needs both domains.

| name | what |
| --- | --- |
| maths | problems and worked solutions of GSM8K, in words |
| code | functions and classes of Python's own library |
| plays | Shakespeare: only the base sees it |
| target | problems of GSM8K that no one else sees, each solved by a program |

The programs are made of the arithmetic that GSM8K notes beside each step (``<<48/2=24>>``).
"""

from __future__ import annotations

import ast
import json
import random
import re
import sysconfig
from itertools import pairwise
from pathlib import Path

DOMAINS = ("maths", "code")
HELD_OUT = 200
"""Texts of each kind that are only measured on."""
_STEP = re.compile(r"<<([^=<>]+)=([^<>]*)>>")
_LONGEST = 1200
"""Characters of a function; longer ones are left out."""


def texts(data: Path) -> dict[str, list[str]]:
    """Texts of every kind, in an order that is always the same.

    Args:
        data: A folder with `gsm8k/train.jsonl` and a text in `tinyshakespeare/`, as they are published.
    """
    lines = (data / "gsm8k" / "train.jsonl").read_text().splitlines()
    problems = [json.loads(line) for line in lines]
    random.Random(0).shuffle(problems)
    half = len(problems) // 2
    worked = [f"{p['question']}\n{_STEP.sub('', p['answer'].split('####')[0]).strip()}" for p in problems]
    programs = [program(p["question"], p["answer"]) for p in problems[half:]]
    plays = next((data / "tinyshakespeare").glob("*.txt")).read_text().split("\n\n")
    found = {
        "maths": worked[:half],
        "code": functions(Path(sysconfig.get_path("stdlib"))),
        "plays": ["\n\n".join(plays[i : i + 4]) for i in range(0, len(plays), 4)],
        "target": [each for each in programs if each is not None],
    }
    for name in ("code", "plays"):
        random.Random(0).shuffle(found[name])
    return found


def program(question: str, answer: str) -> str | None:
    """A problem with a program that solves it; None if its arithmetic is not all noted."""
    names: dict[str, str] = {}
    lines = []
    for number, (expression, result) in enumerate(_STEP.findall(answer)):
        used = re.sub(r"\d+(?:\.\d+)?", lambda found: names.get(found.group(), found.group()), expression)
        names[result.strip()] = f"step{number + 1}"
        lines.append(f"    step{number + 1} = {used.strip()}")
    if not lines:
        return None
    return "\n".join([question, "def solution():", *lines, f"    return step{len(lines)}"])


def functions(folder: Path) -> list[str]:
    """Functions and classes at the top of the modules of a folder, without those of packages in it."""
    found = []
    for file in sorted(folder.glob("*.py")):
        source = file.read_text(encoding="utf-8", errors="replace")
        lines = source.splitlines()
        places = [node.lineno - 1 for node in ast.parse(source).body]
        for begin, end in pairwise([*places, len(lines)]):
            part = "\n".join(lines[begin:end]).strip()
            if part.startswith(("def ", "class ")) and len(part) < _LONGEST:
                found.append(part)
    return found
