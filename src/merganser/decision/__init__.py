"""From a comparison to what a team should do: carry the verdicts out, measure, take the best.

| names | what |
| --- | --- |
| [`decide`][], [`Decided`][] | all stages, in a folder |
| [`Decision`][], [`Option`][], [`Kind`][] | ways to answer, how good each is, which one to take |
| [`candidates_of`][], [`Candidate`][] | the merges that verdicts suggest |
"""

from merganser.decision._candidates import Candidate, candidates_of
from merganser.decision._decide import Decided, decide
from merganser.decision._decision import Decision, Kind, Option

__all__ = ["Candidate", "Decided", "Decision", "Kind", "Option", "candidates_of", "decide"]
