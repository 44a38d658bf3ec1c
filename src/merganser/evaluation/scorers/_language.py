"""Is the answer in the right language? A gate before any scorer, as in `acc_ja`: number right *and* text Japanese.

| detector | a text is in a language where |
| --- | --- |
| `script` | more than half of its letters are of the language's script: `ja` (with kana), `zh` (without), `ko` |
| `fasttext:FILE` | the model's probability of it exceeds one half, without line breaks; published: `lid.176.ftz` |

Digits, signs and blanks are no letters; a text without letters is in no language.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from merganser._errors import ConfigError
from merganser.evaluation._question import Question
from merganser.evaluation.scorers._scorer import Scorer, Verdict

_KANA = re.compile(r"[\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9d]")
_HAN = re.compile(r"[\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3]")


def script_share(text: str, language: str) -> float:
    """Share of a text's letters that are of a language's script, in [0, 1]; 0 where the script rules it out.

    Examples:
        >>> script_share("答えは 42 です", "ja"), script_share("答案是 42", "ja"), script_share("42", "ja")
        (1.0, 0.0, 0.0)
    """
    letters = sum(c.isalpha() for c in text)
    kana, han, hangul = (len(script.findall(text)) for script in (_KANA, _HAN, _HANGUL))
    found = {"ja": kana + han if kana else 0, "zh": 0 if kana else han, "ko": hangul}[language]
    return min(1.0, found / letters) if letters else 0.0


def gated(scorer: Scorer, language: str, detector: str = "script") -> Scorer:
    """A scorer whose score counts only where the text is in a language.

    Args:
        scorer: What grades the text.
        language: Code of the language, such as `ja`.
        detector: `script` or `fasttext:FILE`.

    Raises:
        ConfigError: If there is no such detector, or it does not know the language.
    """
    share, identity = _detector(detector, language)

    def judge(question: Question, text: str) -> Verdict:
        found = scorer.judge(question, text)
        if found.score and share(text) <= 0.5:
            return Verdict(0.0, f"the text is not in `{language}`")
        return found

    return dataclasses.replace(scorer, name=f"{scorer.name}+{language} ({identity})", judge=judge)


def _detector(detector: str, language: str) -> tuple[Callable[[str], float], str]:
    if detector == "script":
        if language not in ("ja", "zh", "ko"):
            raise ConfigError(
                f"Scripts tell ja, zh and ko apart, but not {language!r}. "
                "Name a model: `detector: fasttext:lid.176.ftz`."
            )
        return (lambda text: script_share(text, language)), "script"
    kind, _, file = detector.partition(":")
    if kind != "fasttext" or not file:
        raise ConfigError(f"Expected the detector `script` or `fasttext:FILE`, but found {detector!r}.")
    if not Path(file).is_file():
        raise ConfigError(f"There is no language model {file}; fastText's is called lid.176.ftz.")
    model = _fasttext(file)

    def probability(text: str) -> float:
        # the model's own predict() wraps the same call in numpy and fails with numpy 2
        found = model.f.predict(text.replace("\n", "") + "\n", -1, 0.0, "strict")
        return next((float(p) for p, label in found if label == f"__label__{language}"), 0.0)

    return probability, f"fasttext {hashlib.blake2b(Path(file).read_bytes(), digest_size=8).hexdigest()}"


@cache
def _fasttext(file: str) -> Any:
    try:
        import fasttext  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            "`detector: fasttext:…` needs fastText. Install it (`pip install fasttext`), or use `detector: script`."
        ) from error
    return fasttext.load_model(file)
