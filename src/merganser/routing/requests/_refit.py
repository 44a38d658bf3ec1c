"""The loop that improves a router: what a log adds is learnt, everything else stays."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from merganser._errors import TaskError
from merganser.routing.requests._data import RoutingData
from merganser.routing.requests._log import Outcomes, learnt_from
from merganser.routing.requests._router import RequestRouter, fit_router


class Refitted(NamedTuple):
    """A router that has learnt from a log.

    Attributes:
        router: The router; its validation samples are those of before.
        added: Outcomes that were learnt.
        ungraded: Answers that kept their contract, which nobody graded: nothing is learnt from them.
        held_out: Outcomes on requests that the router is validated or tested on, which are left out.
        torn: Lines of the log that could not be read.
    """

    router: RequestRouter
    added: int
    ungraded: int
    held_out: int
    torn: int


def refit_router(router: RequestRouter, outcomes: Outcomes, *, held_out: Collection[str] = ()) -> Refitted:
    """Fit a router again, with what a log adds.

    Args:
        router: The router of before.
        outcomes: The log.
        held_out: Hashes of requests that it will be tested on; those of its validation are left out anyway.

    Raises:
        TaskError: If the log teaches nothing.
    """
    validated = router.data.part("validation").matrix.samples
    found = learnt_from(outcomes, {*held_out, *validated})
    rows = [row for row in found.rows if row.expert in router.experts]
    if not rows:
        raise TaskError(
            f"The log teaches nothing: {len(outcomes.traces)} requests, {found.ungraded} answers that nobody graded, "
            f"{found.held_out} outcomes on held-out requests. Grade answers, or log more."
        )
    data = RoutingData.of([*router.data.rows(), *rows], router.experts)
    costs = dict(zip(router.experts, router.costs.tolist(), strict=True))
    fitted = fit_router(data, router.settings, costs=costs)
    return Refitted(fitted, len(rows), found.ungraded, found.held_out, outcomes.torn)
