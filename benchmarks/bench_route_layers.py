"""What mixing the MLPs of several models costs when it runs, beside the arithmetic it needs and the base model.

A GPT-2 of four blocks of the small model's width reads 256 tokens on one core, or one token. The floor is the
experts' MLPs: their multiplications at the rate of one large matrix product, or their weights at the rate at which
memory is read, whichever takes longer. `vs_base` is the whole model beside one that is not routed.

    make bench-route_layers
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from _measure import measure, report

WIDTH, BLOCKS, EXPERTS, TOKENS, PASSES = 768, 4, 2, 256, 7
CASES = {
    "static": {"level": "static"},
    "single": {"level": "single"},
    "layers": {"level": "layers"},
    "layers top-1": {"level": "layers", "top_k": 1},
    "cross-depth 2": {"level": "cross-depth", "reach": 2},
    "cross-depth 2 top-1": {"level": "cross-depth", "reach": 2, "top_k": 1},
}


def main() -> None:
    """Measure every case in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(json.dumps(measured(arguments.case)))
        return
    for case in CASES:
        rounds = [
            json.loads(measure([sys.executable, __file__, "--case", case]).output)
            for _ in range(arguments.rounds)
        ]
        for tokens in (TOKENS, 1):
            found = [each[str(tokens)] for each in rounds]
            ours, floor, whole, base = (
                statistics.median(each[key] for each in found) for key in ("mlp", "floor", "whole", "base")
            )
            figures = {"ours": ours, "floor": floor, "vs_floor": ours / floor, "whole": whole, "base": base}
            report("route_layers", f"{case} tokens={tokens}", {**figures, "vs_base": whole / base})


def measured(case: str) -> dict[str, dict[str, float]]:
    """CPU-seconds of one pass: all routed MLPs, the whole model, the base; and the floor."""
    import torch

    from merganser.routing import LayerRouting, assemble

    torch.set_num_threads(1)
    models = {str(e): gpt2(e) for e in range(EXPERTS)}
    routing = LayerRouting(**CASES[case])
    net = assemble(models["0"], models, routing)
    generator = torch.Generator().manual_seed(0)
    if routing.level != "static":
        net.set_weights({n: torch.randn(w.shape, generator=generator) for n, w in net.routers.items()})
    mixers = [net.block(number) for number in range(BLOCKS)]
    rates = torch.randn(2, 1024, 1024, generator=generator)
    rate = 2 * 1024**3 / median_seconds(lambda: rates[0] @ rates[1])
    memory = torch.ones(1 << 25)
    read = 4 * memory.numel() / median_seconds(memory.sum)
    computed = routing.top_k or EXPERTS * routing.reach
    found = {}
    for tokens in (TOKENS, 1):
        hidden = torch.randn(1, tokens, WIDTH, generator=generator)
        ids = torch.randint(0, 1000, (1, tokens), generator=generator)
        found[str(tokens)] = {
            "mlp": median_seconds(lambda h=hidden: [mixer(h) for mixer in mixers]),
            "floor": BLOCKS * computed * 8 * WIDTH**2 * max(2 * tokens / rate, 4 / read),
            "whole": median_seconds(lambda i=ids: net.module(input_ids=i, use_cache=False)),
            "base": median_seconds(lambda i=ids: models["0"](input_ids=i, use_cache=False)),
        }
    return found


def gpt2(seed: int) -> Any:
    """A GPT-2 of a few blocks."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    return GPT2LMHeadModel(GPT2Config(vocab_size=1000, n_embd=WIDTH, n_layer=BLOCKS, n_head=12)).eval()


def median_seconds(once: Callable[[], Any]) -> float:
    """CPU-seconds of one pass."""
    import torch

    taken = []
    with torch.inference_mode():
        once()
        for _ in range(PASSES):
            began = time.process_time()
            once()
            taken.append(time.process_time() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
