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
| [`write_comparison_report`][] | the same of a comparison or a series of checkpoints |
| [`read_found`][], [`ComparisonFound`][], [`SeriesFound`][], [`MapFound`][] | what either left in its folder |
| [`similarity_chart`][], [`gain_chart`][], [`Foretold`][], [`spearman`][] | CKA of all layers; what foretells a gain |
| [`usage_chart`][], [`entropy_chart`][] | who is used where in a routed model, and how undecided its routers are |
| [`explanation_chart`][], [`write_explanation`][] | what became of the task vectors in a merge |
| [`write_routing_report`][], [`write_layers_report`][] | how good a router of requests is; what a routed model does |
| [`write_training_report`][] | what came of a training |
| [`write_thinking_report`][] | how a thought machine learnt, thinks, and when it could stop |
| [`write_seeds_report`][] | the same training with several seeds |
| [`write_watch_page`][], [`thought_outcome`][] | a page on which thoughts can be watched; what became of one |
| [`write_film`][], [`check_film`][], [`FILMS`][] | the same as a film |
| [`write_adaptive_report`][], [`write_mixture_report`][] | a model that chooses its experts; a mixture of them |

Nothing that draws is imported before a report is written.
"""

from merganser.report._adaptive_page import write_adaptive_report
from merganser.report._explanation import explanation_chart, write_explanation
from merganser.report._film import FILMS, check_film, write_film
from merganser.report._found import ComparisonFound, MapFound, SeriesFound, read_found
from merganser.report._fronts import FrontsInfo, Marked, Stage, fronts_info
from merganser.report._gain_chart import Foretold, gain_chart, spearman
from merganser.report._layers_page import write_layers_report
from merganser.report._lineage import Ancestor, Descent, LineageInfo, lineage_info
from merganser.report._mixture_page import write_mixture_report
from merganser.report._path_info import PathInfo, path_info, path_words
from merganser.report._router_page import write_routing_report
from merganser.report._run_info import Failure, RunInfo, run_info
from merganser.report._shares import LayerShare, ShareInfo, share_info
from merganser.report._similarity_chart import similarity_chart
from merganser.report._thinking_page import write_thinking_report
from merganser.report._thinking_seeds_page import write_seeds_report
from merganser.report._training_page import write_training_report
from merganser.report._usage_chart import entropy_chart, usage_chart
from merganser.report._watch_data import thought_outcome
from merganser.report._watch_page import write_watch_page
from merganser.report._wins import WinInfo, niche_order, win_info
from merganser.report._write import write_report
from merganser.report._write_found import write_comparison_report

__all__ = [
    "FILMS",
    "Ancestor",
    "ComparisonFound",
    "Descent",
    "Failure",
    "Foretold",
    "FrontsInfo",
    "LayerShare",
    "LineageInfo",
    "MapFound",
    "Marked",
    "PathInfo",
    "RunInfo",
    "SeriesFound",
    "ShareInfo",
    "Stage",
    "WinInfo",
    "check_film",
    "entropy_chart",
    "explanation_chart",
    "fronts_info",
    "gain_chart",
    "lineage_info",
    "niche_order",
    "path_info",
    "path_words",
    "read_found",
    "run_info",
    "share_info",
    "similarity_chart",
    "spearman",
    "thought_outcome",
    "usage_chart",
    "win_info",
    "write_adaptive_report",
    "write_comparison_report",
    "write_explanation",
    "write_film",
    "write_layers_report",
    "write_mixture_report",
    "write_report",
    "write_routing_report",
    "write_seeds_report",
    "write_thinking_report",
    "write_training_report",
    "write_watch_page",
]
