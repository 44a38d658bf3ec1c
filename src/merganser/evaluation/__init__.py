"""Tasks and their scores.

| names | what |
| --- | --- |
| [`Task`][], [`OwnModels`][], [`Samples`][], [`content_hashes`][] | what is asked, and of which kind of model |
| [`Marks`][], [`MarginTask`][], [`marks_of`][] | scores, and margins where models score the same |
| [`Splits`][], [`SplitRule`][], [`check_disjoint`][] | how it is divided |
| [`Classification`][], [`read_arrays`][], [`LabelledArrays`][], [`split_arrays`][] | classification of arrays |
| [`Question`][], [`Prompt`][] | what a language model is asked, and how |
| [`TextTask`][]: [`GenerativeTask`][], [`ChoiceTask`][], [`SetMetric`][]; [`Graded`][] | their tasks |
| [`open_task`][], [`TaskFile`][], [`is_task_file`][], [`make_task`][] | tasks by reference |
| [`EnvironmentTask`][], [`EnvironmentFile`][], [`make_environment_task`][] | tasks of several turns |
| [`read_questions`][], [`Columns`][], [`split_questions`][] | questions from files |
| [`open_lm_eval`][], [`LmEvalSettings`][], [`LmEvalTask`][] | tasks of lm-evaluation-harness |
| [`Mixture`][], [`sample_weights`][], [`join_splits`][] | several tasks as one |
| [`Rotation`][] | subsets of the samples that take turns |
| [`ScoreMatrix`][] | models x samples, with a mask |
| [`evaluate`][], [`choose`][], [`Evaluation`][], [`Result`][] | models on tasks |
| [`SplitName`][], [`Chosen`][], [`together`][], [`Stage`][] | of which samples, how far |
| [`NonFiniteOutputError`][] | what NaN raises |
| [`Interval`][], [`mean_interval`][], [`difference_interval`][] | how sure a score is |
| [`pack_scores`][], [`unpack_scores`][], [`pack_mask`][], [`unpack_mask`][] | rows as bytes |
"""

from merganser._errors import NonFiniteOutputError
from merganser.evaluation._arrays import LabelledArrays, read_arrays
from merganser.evaluation._choice import ChoiceTask
from merganser.evaluation._classification import Classification
from merganser.evaluation._columns import Columns, read_questions
from merganser.evaluation._environment_file import EnvironmentFile
from merganser.evaluation._evaluate import Chosen, SplitName, Stage, choose, evaluate, together
from merganser.evaluation._generative import GenerativeTask
from merganser.evaluation._graded import Graded
from merganser.evaluation._intervals import Interval, difference_interval, mean_interval
from merganser.evaluation._make_environment import make_environment_task
from merganser.evaluation._make_task import make_task
from merganser.evaluation._marks import MarginTask, Marks, marks_of
from merganser.evaluation._matrix import ScoreMatrix
from merganser.evaluation._mixture import Mixture, join_splits, sample_weights
from merganser.evaluation._open_task import open_task
from merganser.evaluation._packing import pack_mask, pack_scores, unpack_mask, unpack_scores
from merganser.evaluation._prompt import Prompt
from merganser.evaluation._question import Question
from merganser.evaluation._question_splits import split_questions
from merganser.evaluation._results import Evaluation, Result
from merganser.evaluation._rotation import Rotation
from merganser.evaluation._samples import Samples, content_hashes
from merganser.evaluation._set_metric import SetMetric
from merganser.evaluation._splits import SplitRule, check_disjoint, split_arrays
from merganser.evaluation._task import OwnModels, Splits, Task
from merganser.evaluation._task_file import TaskFile, is_task_file
from merganser.evaluation._text_task import TextTask
from merganser.evaluation.environments import EnvironmentTask
from merganser.evaluation.lm_eval import LmEvalSettings, LmEvalTask, open_lm_eval

__all__ = [
    "ChoiceTask",
    "Chosen",
    "Classification",
    "Columns",
    "EnvironmentFile",
    "EnvironmentTask",
    "Evaluation",
    "GenerativeTask",
    "Graded",
    "Interval",
    "LabelledArrays",
    "LmEvalSettings",
    "LmEvalTask",
    "MarginTask",
    "Marks",
    "Mixture",
    "NonFiniteOutputError",
    "OwnModels",
    "Prompt",
    "Question",
    "Result",
    "Rotation",
    "Samples",
    "ScoreMatrix",
    "SetMetric",
    "SplitName",
    "SplitRule",
    "Splits",
    "Stage",
    "Task",
    "TaskFile",
    "TextTask",
    "check_disjoint",
    "choose",
    "content_hashes",
    "difference_interval",
    "evaluate",
    "is_task_file",
    "join_splits",
    "make_environment_task",
    "make_task",
    "marks_of",
    "mean_interval",
    "open_lm_eval",
    "open_task",
    "pack_mask",
    "pack_scores",
    "read_arrays",
    "read_questions",
    "sample_weights",
    "split_arrays",
    "split_questions",
    "together",
    "unpack_mask",
    "unpack_scores",
]
