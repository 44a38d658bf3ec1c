"""Seven experts, of whom one fails, one hangs and one breaks its contract; a router fitted, measured and asked.

python examples/contracts/showing.py OUT
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from merganser.evaluation import open_task
from merganser.routing.requests import (
    Dispatcher,
    Expert,
    ExpertsFile,
    OutcomeLog,
    RouterEvaluation,
    RoutingData,
    compare_routers,
    evaluate_router,
    fit_router,
    make_experts,
    read_experts_file,
    refit_router,
    score_experts,
)

HERE = Path(__file__).parent
NAMES = ("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn")
THINGS = ("show", "soup", "walk", "book", "song", "room")
GOOD, BAD = ("lovely", "great", "bright", "warm", "fine"), ("dreadful", "dull", "cold", "awful", "grim")


def questions(count: int, seed: int = 0) -> dict[str, list[dict[str, str]]]:
    """So many questions of each kind: sums, years and moods."""
    draw = random.Random(seed)
    return {kind: [make(draw) for _ in range(count)] for kind, make in _KINDS.items()}


def _sum(draw: random.Random) -> dict[str, str]:
    a, b, plus = draw.randrange(1, 3000), draw.randrange(1, 3000), draw.random() < 0.5
    return {
        "question": f"What is {a} {'plus' if plus else 'minus'} {b}?",
        "answer": str(a + b if plus else a - b),
    }


def _year(draw: random.Random) -> dict[str, str]:
    name, first, second = draw.choice(NAMES), draw.randrange(1000, 1900), draw.randrange(1900, 2000)
    if draw.random() < 0.5:
        return {
            "question": f"When was the {draw.choice(THINGS)} of {name} made, if in {first}?",
            "answer": str(first),
        }
    asked = f"{name} was born in {first} and moved in {second}. In which year did {name} move?"
    return {"question": asked, "answer": str(second)}


def _mood(draw: random.Random) -> dict[str, str]:
    is_good, turned = draw.random() < 0.5, draw.random() < 0.4
    word = draw.choice(GOOD if is_good != turned else BAD)
    asked = f"{draw.choice(NAMES)} says the {draw.choice(THINGS)} was {'not ' if turned else ''}{word}."
    return {"question": asked, "answer": "good" if is_good else "bad"}


_KINDS = {"sums": _sum, "years": _year, "moods": _mood}


def main(out: Path, count: int) -> None:
    """Score, fit, evaluate, ask, refit."""
    out.mkdir(parents=True, exist_ok=True)
    tasks = []
    for kind, rows in questions(count).items():
        (out / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        tasks.append(open_task(out / f"{kind}.jsonl"))
    file = read_experts_file(HERE / "experts.yaml")
    experts = make_experts(file)
    scored = score_experts(experts, tasks, ("search", "validation"))
    test = score_experts(experts, tasks, ("test",)).data
    for note in scored.notes:
        print("note:", note)
    router = fit_router(scored.data, file.router, costs=scored.costs)
    tell(evaluate_router(router, test, fallback=file.fallback))

    requests = [*test.texts[:30], "What is 2 plus 2?", "Sing me a song."]
    traces = [Dispatcher(router, experts, fallback=file.fallback).ask(request) for request in requests]
    slowest = max(trace.seconds for trace in traces)
    print(
        f"{len(traces)} requests: {sum(t.error is None for t in traces)} answered, the slowest in {slowest:.1f} s"
    )

    log = OutcomeLog(out / "outcomes.jsonl")
    log.path.unlink(missing_ok=True)
    improve(scored.data, test, experts, file, log)


def improve(
    data: RoutingData, test: RoutingData, experts: Sequence[Expert], file: ExpertsFile, log: OutcomeLog
) -> None:
    """A router that has not seen moods yet meets them, and learns from a log that somebody graded."""
    is_known = np.array([task != "moods" for task in data.tasks])
    before = fit_router(data.where(is_known), file.router)
    scores = {(row.text, row.expert): row.score for row in data.rows()}
    dispatcher = Dispatcher(before, experts, fallback=file.fallback, explore=0.5, log=log)
    for text in data.where(~is_known).part("search").texts:
        trace = dispatcher.ask(text)
        if trace.expert is not None:  # somebody looks at the answer
            log.grade(trace.id, scores[text, trace.expert])
    after = refit_router(before, log.read(), held_out=test.matrix.samples)
    found = compare_routers(before, after.router, test, fallback=file.fallback)
    change, low, high = (100 * value for value in found.difference)
    print(
        f"refitted with {after.added} outcomes: {found.before.value:.1%} -> {found.after.value:.1%}, "
        f"{change:+.1f} points ({low:+.1f} to {high:+.1f}), p = {found.p:.2g}"
    )


def tell(found: RouterEvaluation) -> None:
    """The table, the gain captured and the calibration."""
    for each in (found.router, found.first, *found.experts, found.chance, found.oracle):
        value, low, high = each.score
        print(f"{each.name:20} {value:6.1%} ({low:.1%} to {high:.1%})  cost {each.cost:.2f}")
    if found.captured is not None:
        value, low, high = found.captured
        print(f"gain captured over {found.best}: {value:.1%} ({low:.1%} to {high:.1%})")
    print(f"calibration error {found.calibration.error:.3f}, Brier score {found.calibration.brier:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=120)
    asked = parser.parse_args()
    main(asked.out, asked.count)
