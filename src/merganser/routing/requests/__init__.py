"""Which expert answers which request: contracts, experts, the router and the dispatcher.

| names | what |
| --- | --- |
| [`Contract`][], [`Limits`][], [`Violation`][] | what goes in, what comes out, how long it may take |
| [`classification`][], [`extraction`][], [`question_answering`][], [`code`][] | contracts of the common shapes |
| [`Expert`][], [`Ask`][], [`Reply`][], [`AskError`][], [`LateError`][] | who may answer, and how it is asked |
| [`threaded`][], [`Function`][], [`LocalModels`][], [`Endpoint`][] | ways to ask, none of which can hang |
| [`read_experts_file`][], [`parse_experts_file`][], [`make_experts`][], [`ExpertsFile`][], [`RouterSettings`][] | an experts file |
| [`RoutingData`][], [`Row`][], [`read_rows`][], [`write_rows`][] | who solved what |
| [`fit_router`][], [`RequestRouter`][], [`Rule`][], [`Decision`][] | the router |
| [`save_router`][], [`open_router`][], [`SavedRouter`][] | the router as a folder |
| [`Hashed`][], [`Hidden`][], [`Nearest`][], [`Classifier`][] | what it is made of |
| [`calibration_of`][], [`Calibration`][], [`Bin`][] | how far its predictions can be believed |
"""

from merganser.routing.requests._calibration import Bin, Calibration, calibration_of
from merganser.routing.requests._contract import Contract, Limits, Violation
from merganser.routing.requests._data import Row, RoutingData, read_rows, write_rows
from merganser.routing.requests._embedding import Hashed, Hidden
from merganser.routing.requests._endpoint import Endpoint
from merganser.routing.requests._expert import Ask, AskError, Expert, LateError, Reply
from merganser.routing.requests._experts_file import (
    ExpertsFile,
    RouterSettings,
    parse_experts_file,
    read_experts_file,
)
from merganser.routing.requests._local import LocalModels
from merganser.routing.requests._make_experts import make_experts
from merganser.routing.requests._predictors import Classifier, Nearest
from merganser.routing.requests._process import Function
from merganser.routing.requests._router import RequestRouter, fit_router
from merganser.routing.requests._rule import Decision, Rule
from merganser.routing.requests._saved import SavedRouter, open_router, save_router
from merganser.routing.requests._templates import classification, code, extraction, question_answering
from merganser.routing.requests._threads import threaded

__all__: list[str] = []
