"""Tasks of lm-evaluation-harness as tasks of this house.

| names | what |
| --- | --- |
| [`open_lm_eval`][], [`PREFIX`][] | `lm-eval:NAME` as search, validation and test |
| [`LmEvalSettings`][] | metric, examples, chat template, limit, trust |
| [`LmEvalTask`][] | some documents of a task, scored as lm-eval scores them |
"""

from merganser.evaluation.lm_eval._open import PREFIX, open_lm_eval
from merganser.evaluation.lm_eval._settings import LmEvalSettings
from merganser.evaluation.lm_eval._task import LmEvalTask

__all__ = ["PREFIX", "LmEvalSettings", "LmEvalTask", "open_lm_eval"]
