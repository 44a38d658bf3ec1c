"""Reports: what a run found, as figures, pictures and one HTML file that works offline.

| names | what |
| --- | --- |
| [`write_report`][] | the file |
| [`run_info`][], [`RunInfo`][], [`Failure`][] | the facts of a run |
| [`win_info`][], [`WinInfo`][], [`niche_order`][] | which member solves which sample |
| [`fronts_info`][], [`FrontsInfo`][], [`Stage`][], [`Marked`][] | what could be traded for what |
| [`lineage_info`][], [`LineageInfo`][], [`Ancestor`][], [`Descent`][] | where the winner comes from |
| [`share_info`][], [`ShareInfo`][], [`LayerShare`][] | how much of each seed is where in the winner |
| [`path_info`][], [`PathInfo`][], [`path_words`][] | through whose blocks a winner that is a path goes |
| [`usage_chart`][], [`entropy_chart`][] | who is used where in a routed model, and how undecided its routers are |
| [`explanation_chart`][], [`write_explanation`][] | what became of the task vectors in a merge |

Nothing that draws is imported before a report is written.
"""

from merganser.report._explanation import explanation_chart, write_explanation
from merganser.report._fronts import FrontsInfo, Marked, Stage, fronts_info
from merganser.report._lineage import Ancestor, Descent, LineageInfo, lineage_info
from merganser.report._path_info import PathInfo, path_info, path_words
from merganser.report._routing_chart import entropy_chart, usage_chart
from merganser.report._run_info import Failure, RunInfo, run_info
from merganser.report._shares import LayerShare, ShareInfo, share_info
from merganser.report._wins import WinInfo, niche_order, win_info
from merganser.report._write import write_report

__all__ = [
    "Ancestor",
    "Descent",
    "Failure",
    "FrontsInfo",
    "LayerShare",
    "LineageInfo",
    "Marked",
    "PathInfo",
    "RunInfo",
    "ShareInfo",
    "Stage",
    "WinInfo",
    "entropy_chart",
    "explanation_chart",
    "fronts_info",
    "lineage_info",
    "niche_order",
    "path_info",
    "path_words",
    "run_info",
    "share_info",
    "usage_chart",
    "win_info",
    "write_explanation",
    "write_report",
]
