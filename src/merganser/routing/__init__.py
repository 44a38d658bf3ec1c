"""Models that stay apart, and what decides which of them answers.

| names | what |
| --- | --- |
| `merganser.routing.requests` | request by request: contracts, experts, router and dispatcher |
"""

from merganser.routing.requests import (
    Attempt,
    Dispatcher,
    Expert,
    ExpertsFile,
    OutcomeLog,
    RequestRouter,
    RouterComparison,
    RouterEvaluation,
    RoutingData,
    Trace,
    compare_routers,
    evaluate_router,
    fit_router,
    make_experts,
    open_router,
    read_experts_file,
    read_rows,
    refit_router,
    save_router,
    score_experts,
)

__all__ = [
    "Attempt",
    "Dispatcher",
    "Expert",
    "ExpertsFile",
    "OutcomeLog",
    "RequestRouter",
    "RouterComparison",
    "RouterEvaluation",
    "RoutingData",
    "Trace",
    "compare_routers",
    "evaluate_router",
    "fit_router",
    "make_experts",
    "open_router",
    "read_experts_file",
    "read_rows",
    "refit_router",
    "save_router",
    "score_experts",
]
