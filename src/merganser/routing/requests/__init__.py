"""Which expert answers which request: contracts, experts, the router and the dispatcher.

| names | what |
| --- | --- |
| [`Contract`][], [`Limits`][], [`Violation`][] | what goes in, what comes out, how long it may take |
| [`classification`][], [`extraction`][], [`question_answering`][], [`code`][] | contracts of the common shapes |
| [`Expert`][], [`Ask`][], [`Reply`][], [`AskError`][], [`LateError`][] | who may answer, and how it is asked |
| [`threaded`][], [`Function`][], [`LocalModels`][], [`Endpoint`][] | ways to ask, none of which can hang |
| [`read_experts_file`][], [`parse_experts_file`][], [`ExpertsFile`][] | an experts file |
| [`RouterSettings`][], [`Predicted`][] | how a router is fitted |
| [`make_experts`][] | the experts of a file |
| [`RoutingData`][], [`Row`][], [`read_rows`][], [`write_rows`][] | who solved what |
| [`fit_router`][], [`RequestRouter`][], [`Rule`][], [`Decision`][] | the router |
| [`save_router`][], [`open_router`][], [`SavedRouter`][] | the router as a folder |
| [`Hashed`][], [`Hidden`][], [`Nearest`][], [`Classifier`][], [`ByTask`][] | what it is made of |
| [`Dispatcher`][], [`Trace`][], [`Attempt`][], [`try_expert`][] | from a request to an answer, or to a clear error |
| [`OutcomeLog`][], [`Outcomes`][], [`refit_router`][], [`Refitted`][] | what became of requests, and learning from it |
| [`score_experts`][], [`Scored`][] | experts on tasks |
| [`evaluate_router`][], [`RouterEvaluation`][], [`Standing`][], [`Point`][] | how good a router is |
| [`compare_routers`][], [`RouterComparison`][] | whether one is better than another |
| [`calibration_of`][], [`Calibration`][], [`Bin`][] | how far its predictions can be believed |
"""

from merganser.routing.requests._attempt import Attempt, try_expert
from merganser.routing.requests._calibration import Bin, Calibration, calibration_of
from merganser.routing.requests._contract import Contract, Limits, Violation
from merganser.routing.requests._data import RoutingData, Row, read_rows, write_rows
from merganser.routing.requests._dispatcher import Dispatcher
from merganser.routing.requests._embedding import Hashed, Hidden
from merganser.routing.requests._endpoint import Endpoint
from merganser.routing.requests._evaluation import (
    Point,
    RouterComparison,
    RouterEvaluation,
    Standing,
    compare_routers,
    evaluate_router,
)
from merganser.routing.requests._expert import Ask, AskError, Expert, LateError, Reply
from merganser.routing.requests._experts_file import (
    ExpertsFile,
    Predicted,
    RouterSettings,
    parse_experts_file,
    read_experts_file,
)
from merganser.routing.requests._local import LocalModels
from merganser.routing.requests._log import OutcomeLog, Outcomes
from merganser.routing.requests._make_experts import make_experts
from merganser.routing.requests._predictors import ByTask, Classifier, Nearest
from merganser.routing.requests._process import Function
from merganser.routing.requests._refit import Refitted, refit_router
from merganser.routing.requests._router import RequestRouter, fit_router
from merganser.routing.requests._rule import Decision, Rule
from merganser.routing.requests._saved import SavedRouter, open_router, save_router
from merganser.routing.requests._scoring import Scored, score_experts
from merganser.routing.requests._templates import classification, code, extraction, question_answering
from merganser.routing.requests._threads import threaded
from merganser.routing.requests._trace import Trace

__all__ = [
    "Ask",
    "AskError",
    "Attempt",
    "Bin",
    "ByTask",
    "Calibration",
    "Classifier",
    "Contract",
    "Decision",
    "Dispatcher",
    "Endpoint",
    "Expert",
    "ExpertsFile",
    "Function",
    "Hashed",
    "Hidden",
    "LateError",
    "Limits",
    "LocalModels",
    "Nearest",
    "OutcomeLog",
    "Outcomes",
    "Point",
    "Predicted",
    "Refitted",
    "Reply",
    "RequestRouter",
    "RouterComparison",
    "RouterEvaluation",
    "RouterSettings",
    "RoutingData",
    "Row",
    "Rule",
    "SavedRouter",
    "Scored",
    "Standing",
    "Trace",
    "Violation",
    "calibration_of",
    "classification",
    "code",
    "compare_routers",
    "evaluate_router",
    "extraction",
    "fit_router",
    "make_experts",
    "open_router",
    "parse_experts_file",
    "question_answering",
    "read_experts_file",
    "read_rows",
    "refit_router",
    "save_router",
    "score_experts",
    "threaded",
    "try_expert",
    "write_rows",
]
