"""Experts of a help desk: small rules, three of which misbehave."""

from __future__ import annotations

import json
import re
import time

_GOOD = ("lovely", "great", "bright", "warm", "fine")
_BAD = ("dreadful", "dull", "cold", "awful", "grim")


def calculator(prompt: str) -> str:
    """Sums and differences of whole numbers."""
    found = re.search(r"(\d+) (plus|minus) (\d+)", prompt)
    if found is None:
        return "That is no sum."
    first, second = int(found[1]), int(found[3])
    return json.dumps({"value": first + second if found[2] == "plus" else first - second})


def librarian(prompt: str) -> str:
    """The year in a sentence; wrong where there are two."""
    years = re.findall(r"\b1[0-9]{3}\b", prompt)
    return json.dumps({"value": int(years[0])}) if years else "I see no year."


def critic(prompt: str) -> str:
    """Good or bad, by words; does not understand `not`."""
    asked = prompt.rsplit("\n", 1)[-1]
    return "good" if sum(w in asked for w in _GOOD) >= sum(w in asked for w in _BAD) else "bad"


def generalist(prompt: str) -> str:
    """A little of everything: small sums, the last number of a sentence, and a kind word."""
    found = re.search(r"(\d+) plus (\d+)", prompt)
    if found and len(found[1] + found[2]) < 4:
        return str(int(found[1]) + int(found[2]))
    numbers = re.findall(r"\d+", prompt)
    return numbers[-1] if numbers else "good"


def grumpy(prompt: str) -> str:
    """Understands `not`, but fails on anything with a number in it."""
    asked = prompt.rsplit("\n", 1)[-1]
    if re.search(r"\d", asked):
        raise RuntimeError("no numbers, please")
    turned = " not " in asked
    return "good" if any(w in asked for w in _GOOD) != turned else "bad"


def sleepy(prompt: str) -> str:
    """Knows the first of two years from the second, and falls asleep over sums."""
    if "plus" in prompt or "minus" in prompt:
        time.sleep(3600)
    years = re.findall(r"\b1[0-9]{3}\b", prompt)
    return json.dumps({"value": int(years[-1])}) if years else "zzz"


def chatty(prompt: str) -> str:
    """Right about sums, but in prose where a number is owed."""
    return "Well, let me think. " + calculator(prompt).replace("{", "").replace("}", "")
