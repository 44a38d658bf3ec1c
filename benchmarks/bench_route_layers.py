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
from collections.abc import Callable, Mapping
from typing import Any

from _measure import measure, report

WIDTH, BLOCKS, EXPERTS, TOKENS, PASSES = 768, 4, 2, 256, 5
CASES = {
    "static": {"level": "static"},
    "single": {"level": "single"},
    "layers": {"level": "layers"},
    "layers top-1": {"level": "layers", "top_k": 1},
    "cross-depth 2": {"level": "cross-depth", "reach": 2},
    "cross-depth 2 top-1": {"level": "cross-depth", "reach": 2, "top_k": 1},
}


def main() -> None:
    """Measure all cases in each of some processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measured()))
        return
    rounds = [
        json.loads(measure([sys.executable, __file__, "--side"]).output) for _ in range(arguments.rounds)
    ]
    for case in rounds[0]:
        figures = {key: statistics.median(each[case][key] for each in rounds) for key in rounds[0][case]}
        figures["vs_floor"] = figures["ours"] / figures["floor"]
        figures["vs_base"] = figures["whole"] / figures["base"]
        report("route_layers", case, figures)


def measured() -> dict[str, dict[str, float]]:
    """CPU-seconds of one pass, by case: all routed MLPs, the whole model, the base; and the floor."""
    import torch

    torch.set_num_threads(1)
    models = {str(e): gpt2(e) for e in range(EXPERTS)}
    generator = torch.Generator().manual_seed(0)
    square = torch.randn(1024, 1024, generator=generator)
    rate = 2 * 1024**3 / median_seconds(lambda: square @ square)
    memory = torch.ones(1 << 25)
    read = 4 * memory.numel() / median_seconds(memory.sum)
    found = {}
    for tokens in (TOKENS, 1):
        hidden = torch.randn(1, tokens, WIDTH, generator=generator)
        ids = torch.randint(0, 1000, (1, tokens), generator=generator)
        base = seconds_of(models["0"], ids)
        for case, given in CASES.items():
            net = routed(models, given, generator)
            mixers = [net.block(number) for number in range(BLOCKS)]
            computed = net.routing.top_k or EXPERTS * net.routing.reach
            found[f"{case} tokens={tokens}"] = {
                "ours": median_seconds(lambda m=mixers, h=hidden: [mixer(h) for mixer in m]),
                "floor": BLOCKS * computed * 8 * WIDTH**2 * max(2 * tokens / rate, 4 / read),
                "whole": seconds_of(net.module, ids),
                "base": base,
            }
    return found


def routed(models: Mapping[str, Any], given: Mapping[str, Any], generator: Any) -> Any:
    """A routed net whose routers are not undecided."""
    import torch

    from merganser.routing.layers import LayerRouting, assemble

    net = assemble(models["0"], models, LayerRouting(**given))
    if net.routing.level != "static":
        net.set_weights({n: torch.randn(w.shape, generator=generator) for n, w in net.routers.items()})
    return net


def seconds_of(module: Any, ids: Any) -> float:
    """CPU-seconds of reading tokens."""
    return median_seconds(lambda: module(input_ids=ids, use_cache=False))


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
