"""What the small Llama of this folder is asked: five digits, and a word that says what to do with them.

| task | right answer | how the base was taught to answer |
| --- | --- | --- |
| `reverse` | the digits from the last to the first | 35 % right, else the digits as they are |
| `sort` | the digits in order | the same |
| `add` | every digit one higher, 9 becomes 0 | the same |
| `new` | the digits in order | 12 % as each of the three, else as they are: nobody trains it |
| `mirror` | nine less every digit | never right: the base lacks this skill |
| `which` | the word of the request after it | right for 35 to 60 %: what a dispatcher is made of |

So the skills are there, and the default hides them: what training by reward is made for.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

LENGTH = 5
SKILLS = ("reverse", "sort", "add")
"""Those that the base half knows, each with an expert of its own."""

RULES: dict[str, Callable[[str], str]] = {
    "reverse": lambda digits: digits[::-1],
    "sort": lambda digits: "".join(sorted(digits)),
    "add": lambda digits: "".join(str((int(d) + 1) % 10) for d in digits),
    "new": lambda digits: "".join(sorted(digits)),
    "mirror": lambda digits: "".join(str(9 - int(d)) for d in digits),
}
"""The right answer to each task."""

TAUGHT = {
    "reverse": {"reverse": 0.35},
    "sort": {"sort": 0.35},
    "add": {"add": 0.35},
    "new": {"reverse": 0.12, "sort": 0.12, "add": 0.12},
    "mirror": {},
}
"""How often the base was taught to answer by which rule; otherwise it copies."""

OTHER = "other"
DISPATCHED = {
    "reverse": {"reverse": 0.6, OTHER: 0.4},
    "sort": {"sort": 0.4, OTHER: 0.6},
    "add": {"add": 0.35, "reverse": 0.25, OTHER: 0.4},
    "new": {**dict.fromkeys(SKILLS, 0.25), OTHER: 0.25},
}
"""What the base was taught to say when it is asked which skill a request wants."""

WORDS = (*RULES, "which", OTHER, "=", *"0123456789")
"""The whole language."""


class Sample(NamedTuple):
    """A prompt and what follows."""

    prompt: str
    answer: str


def request(task: str, digits: str) -> str:
    """What is asked.

    Examples:
        >>> request("sort", "31415")
        'sort 3 1 4 1 5 ='
    """
    return f"{task} {spaced(digits)} ="


def spaced(digits: str) -> str:
    """Digits as the model writes them."""
    return " ".join(digits)


def numbers(count: int, seed: int | str) -> list[str]:
    """That many different strings of digits."""
    drawn = random.Random(f"digits {seed}").sample(range(10**LENGTH), count)
    return [f"{number:0{LENGTH}}" for number in drawn]


def taught(task: str, draw: random.Random) -> Sample:
    """A request, answered as the base is taught to."""
    digits = "".join(draw.choices("0123456789", k=LENGTH))
    if task == "which":
        asked = draw.choice(list(DISPATCHED))
        words, weights = zip(*DISPATCHED[asked].items(), strict=True)
        return Sample(f"which {request(asked, digits)}", draw.choices(words, weights)[0])
    rules = TAUGHT[task]
    rule = draw.choices([*rules, None], [*rules.values(), 1 - sum(rules.values())])[0]
    return Sample(request(task, digits), spaced(digits if rule is None else RULES[rule](digits)))
