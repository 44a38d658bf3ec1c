"""Scorers: from a question and a model's text to a score in [0, 1], by name.

| name | what is right |
| --- | --- |
| `numeric`, `numeric:evomerge`, `numeric:lm-eval-strict`, `numeric:lm-eval-flexible` | the number |
| `exact[:IGNORED]`, `contains[:IGNORED]`, `regex:PATTERN` | the text |
| `letter` | the letter of a choice |
| `rouge-l`, `rouge-l:words`, `rouge-l:characters` | the more of the reference the better |
| `module:function` | what a function of your own says |

Each may be gated by language: see [`gated`][].
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping

from merganser._errors import ConfigError
from merganser.evaluation.scorers._function import function_scorer, source_digest
from merganser.evaluation.scorers._language import gated, script_share
from merganser.evaluation.scorers._numbers import NUMERIC, answer_number, numbers_in
from merganser.evaluation.scorers._rouge import ROUGE, rouge_l
from merganser.evaluation.scorers._scorer import Scorer, Verdict
from merganser.evaluation.scorers._texts import LETTER, chosen_letter, contains, exact, regex
from merganser.evaluation.scorers._worker import Stopped, Worker

__all__ = [
    "SCORERS",
    "Scorer",
    "Stopped",
    "Verdict",
    "Worker",
    "answer_number",
    "chosen_letter",
    "function_scorer",
    "gated",
    "numbers_in",
    "rouge_l",
    "scorer_named",
    "script_share",
    "source_digest",
]


def _variant_of(name: str, table: Mapping[str, Scorer]) -> Callable[[str], Scorer]:
    def pick(variant: str) -> Scorer:
        if variant not in table:
            known = ", ".join(f"`{scorer.name}`" for scorer in table.values())
            raise ConfigError(f"There is no scorer `{name}:{variant}`; there are {known}.")
        return table[variant]

    return pick


SCORERS: dict[str, Callable[[str], Scorer]] = {
    "numeric": _variant_of("numeric", NUMERIC),
    "exact": exact,
    "contains": contains,
    "regex": regex,
    "letter": _variant_of("letter", {"": LETTER}),
    "rouge-l": _variant_of("rouge-l", ROUGE),
}
"""What makes a scorer from the part after the colon, by the part before it."""


def scorer_named(name: str, *, seconds: float = 10.0) -> Scorer:
    """The scorer of a name, or the user's own at `module:function`.

    Args:
        name: A name of the table above.
        seconds: Longest time of a function of the user's own, for one sample.

    Raises:
        ConfigError: If there is none of that name.

    Examples:
        >>> from merganser.evaluation import Question
        >>> scorer_named("numeric").judge(Question("6 * 7?", ("42",)), "That makes 41.")
        Verdict(score=0.0, reason='found 41, expected 42')
    """
    first, _, rest = name.partition(":")
    if first in SCORERS:
        return SCORERS[first](rest)
    if re.fullmatch(r"[\w.]+:\w+", name):
        return function_scorer(name, seconds=seconds)
    near = difflib.get_close_matches(first, SCORERS, n=1)
    hint = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(SCORERS)}, or `module:function`."
    raise ConfigError(f"There is no scorer `{name}`. {hint}")
