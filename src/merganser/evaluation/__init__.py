"""Tasks and their scores.

| names | what |
| --- | --- |
| [`Task`][], [`Samples`][] | what is asked |
| [`Splits`][], [`SplitRule`][], [`check_disjoint`][] | how it is divided |
| [`Classification`][], [`read_arrays`][], [`LabelledArrays`][], [`split_arrays`][] | classification of arrays |
| [`open_lm_eval`][], [`LmEvalSettings`][], [`LmEvalTask`][] | tasks of lm-evaluation-harness |
| [`Mixture`][], [`sample_weights`][], [`join_splits`][] | several tasks as one |
| [`ScoreMatrix`][] | models x samples, with a mask |
| [`Interval`][], [`mean_interval`][], [`difference_interval`][] | how sure a score is |
| [`pack_scores`][], [`unpack_scores`][], [`pack_mask`][], [`unpack_mask`][] | rows as bytes |
"""

from merganser.evaluation._arrays import LabelledArrays, read_arrays
from merganser.evaluation._classification import Classification, NonFiniteOutputError
from merganser.evaluation._intervals import Interval, difference_interval, mean_interval
from merganser.evaluation._matrix import ScoreMatrix
from merganser.evaluation._mixture import Mixture, join_splits, sample_weights
from merganser.evaluation._packing import pack_mask, pack_scores, unpack_mask, unpack_scores
from merganser.evaluation._samples import Samples, content_hashes
from merganser.evaluation._splits import SplitRule, check_disjoint, split_arrays
from merganser.evaluation._task import Splits, Task
from merganser.evaluation.lm_eval import LmEvalSettings, LmEvalTask, open_lm_eval

__all__ = [
    "Classification",
    "Interval",
    "LabelledArrays",
    "LmEvalSettings",
    "LmEvalTask",
    "Mixture",
    "NonFiniteOutputError",
    "Samples",
    "ScoreMatrix",
    "SplitRule",
    "Splits",
    "Task",
    "check_disjoint",
    "content_hashes",
    "difference_interval",
    "join_splits",
    "mean_interval",
    "open_lm_eval",
    "pack_mask",
    "pack_scores",
    "read_arrays",
    "sample_weights",
    "split_arrays",
    "unpack_mask",
    "unpack_scores",
]
