"""Make what the tests compare with: what mergekit 0.1.5 gives, for single tensors and for whole files.

Run it with an interpreter that has mergekit, which is not a dependency of this project:

    $RIVAL_MERGEKIT/bin/python scripts/mergekit_goldens.py

`RIVAL_MERGEKIT` is a virtual environment with `pip install mergekit==0.1.5`. Everything is seeded: the same versions
make the same files again.

| written to | what |
| --- | --- |
| `tests/merging/methods/mergekit/goldens/` | one tensor at a time: inputs, parameters, results, masks; signatures |
| `tests/interop/goldens/` | tiny models, YAML files, and the models that `mergekit-yaml` makes of them |
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import torch
import yaml
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent
TENSORS = ROOT / "tests/merging/methods/mergekit/goldens"
FILES = ROOT / "tests/interop/goldens"

Named = dict[str, Any]


# One tensor at a time: a base and three models for each kind of tensor.


def kinds_of_tensors() -> dict[str, list[torch.Tensor]]:
    """Base and models, by kind."""
    generator = torch.Generator().manual_seed(15)

    def drawn(shape: tuple[int, ...], scale: float) -> torch.Tensor:
        return scale * torch.randn(shape, generator=generator)

    def tuned(shape: tuple[int, ...], *scales: float) -> list[torch.Tensor]:
        base = drawn(shape, 0.1)
        return [base, *(base + drawn(shape, scale) for scale in scales)]

    matrix = tuned((6, 8), 0.06, 0.03, 0.05)
    base, change = matrix[0], matrix[1] - matrix[0]
    steps = torch.randint(-4, 5, (4, 2, 8), generator=generator) / 64
    return {
        "matrix": matrix,
        "near": tuned((6, 8), 0.0025, 0.004, 0.003),
        "light": tuned((6, 8), 3e-4, 2e-4, 1e-4),
        "lightest": tuned((6, 8), 1e-5, 4e-5, 2e-7),
        "vector": tuned((24,), 0.06, 0.03, 0.05),
        "cube": tuned((2, 3, 4), 0.06, 0.03, 0.05),
        "row": tuned((1, 9), 0.06, 0.03, 0.05),
        "column": tuned((9, 1), 0.06, 0.03, 0.05),
        "still": [base, base.clone(), base + drawn((6, 8), 0.05), base + drawn((6, 8), 0.02)],
        "opposed": [base, base + change, base - change, base + drawn((6, 8), 0.05)],
        "tiny": [torch.zeros(6, 8), *(drawn((6, 8), 1e-6) for _ in range(3))],
        "tinier": [torch.zeros(6, 8), *(drawn((6, 8), 3e-9) for _ in range(3))],
        "mirror": [torch.zeros(6, 8), base, -base, change],
        "zero": [torch.zeros(6, 8), torch.zeros(6, 8), drawn((6, 8), 0.1), drawn((6, 8), 0.1)],
        "grid": list(steps),
        "double": [tensor.double() / 3 for tensor in tuned((6, 8), 0.06, 0.03, 0.05)],
    }


def tensor_cases() -> Iterator[tuple[str, str, int, Named]]:
    """Method, kind of tensor, number of models beside the base, and parameters."""
    kinds = list(kinds_of_tensors())
    weights = [0.7, -0.2, 0.4]
    grids: dict[str, tuple[list[int], list[Named]]] = {
        "linear": ([1, 3], [{"weight": 1.0}, {"weight": weights}, {"weight": weights, "normalize": False}]),
        "passthrough": ([1], [{}, {"scale": [0.25]}]),
        "slerp": ([1], [{"t": t} for t in (0.0, 0.3, 1.0, 1.2)]),
        "nuslerp": (
            [2],
            [
                {"weight": [0.3, 0.6]},
                {"weight": [0.5, -0.5]},
                {"weight": [0.3, 0.6], "nuslerp_flatten": False},
                {"weight": [0.3, 0.6], "nuslerp_flatten": False, "nuslerp_row_wise": True},
            ],
        ),
        "multislerp": (
            [1, 2, 3],
            [
                {"weight": 1.0},
                {"weight": [0.7, 0.2, 0.4]},
                {"weight": [0.7, 0.2, 0.4], "normalize_weights": False, "eps": 1e-3},
            ],
        ),
        "karcher": ([1, 2, 3], [{}, {"max_iter": 1}, {"tol": 0.2}]),
        "model_stock": ([2, 3], [{}, {"filter_wise": True}]),
        "nearswap": ([1], [{"t": t} for t in (0.02, 1e-4, 1e-7, -1.0)]),
        "arcee_fusion": ([1], [{}]),
        "sce": ([1, 2, 3], [{}, {"select_topk": 0.29}, {"select_topk": 0.0, "int8_mask": True}]),
        "ram": ([1, 3], [{}, {"epsilon": 0.04}]),
        "ramplus_tl": ([1, 3], [{}, {"epsilon": 0.04, "r": 0.5, "alpha": 2.0}]),
        "task_arithmetic": (
            [1, 3],
            [
                {"weight": weights},
                {"weight": 0.6, "normalize": True, "lambda": 1.3},
                {"weight": 1.0, "density": 0.2, "rescale": True, "int8_mask": True},
            ],
        ),
    }
    thinned = [
        {"weight": weights},
        {"weight": [0.5, 0.25, 1.0], "density": [0.3, 0.6, 1.0], "lambda": 0.7},
        {"weight": 0.5, "density": 0.5, "normalize": True, "rescale": True, "int8_mask": True},
        {"weight": [0.5, -0.5, 1.0], "density": 0.4, "normalize": False, "rescale": False},
    ]
    extremes = [{"weight": 1.0, "density": density} for density in (0.0, 1e-6)]
    grids["ties"] = ([1, 3], [*thinned, *extremes])
    for name in ("breadcrumbs", "breadcrumbs_ties"):
        gammas = [{**p, "gamma": gamma} for p in thinned[1:3] for gamma in (0.2, [0.9, 0.1, 0.0])]
        grids[name] = ([1, 3], [*thinned, *extremes, *gammas])
    for name in ("dare_linear", "dare_ties"):
        grids[name] = ([1, 3], [*thinned, *extremes[:1]])
    for name in ("della", "della_linear"):
        wide = {"weight": 0.5, "density": 0.5, "epsilon": [0.4, 0.1, 0.0]}
        grids[name] = ([1, 3], [*thinned, *extremes[:1], wide])
    for method, (counts, parameters) in grids.items():
        is_random = method.startswith(("dare", "della"))
        for kind in ("matrix", "vector", "still", "grid", "tinier") if is_random else kinds:
            for given in parameters if kind in FULLY else parameters[:1]:
                if not is_left_to_chance(method, kind, given):
                    yield from ((method, kind, count, given) for count in counts)


def is_left_to_chance(method: str, kind: str, parameters: Named) -> bool:
    """Whether rounding or an unstable sort decides in mergekit what comes out."""
    rescales = parameters.get("rescale", method.startswith(("dare", "della")))
    among_equals = method == "sce" and kind == "grid" and 0 < parameters.get("select_topk", 1) < 1
    nearly_cancelled = kind == "opposed" and (rescales or method == "multislerp")
    at_the_pole = method == "nuslerp" and (
        kind == "mirror" or (kind == "grid" and parameters.get("nuslerp_row_wise", False))
    )
    nearly_parallel = method == "karcher" and kind == "lightest"
    return among_equals or nearly_cancelled or at_the_pole or nearly_parallel or (kind == "grid" and rescales)


FULLY = {"matrix", "near", "light", "tiny", "tinier", "still", "grid"}
"""Kinds for which all parameters are tried, not just the first of each method."""

NO_BASE = {"linear", "passthrough", "karcher"}
EITHER = {"nuslerp", "multislerp"}


def make_tensors(folder: Path) -> None:
    """Merge every case, and write inputs, results and masks."""
    from mergekit.merge_methods.api import merge_tensors

    kinds = kinds_of_tensors()
    stored = {f"input/{kind}/{i}": t.clone() for kind, ts in kinds.items() for i, t in enumerate(ts)}
    cases: list[Named] = []
    for method, kind, count, given in tensor_cases():
        parameters = {k: v[:count] if isinstance(v, list) else v for k, v in given.items()}
        for has_base in (False, True) if method in EITHER else (method not in NO_BASE,):
            tensors = [tensor.clone() for tensor in kinds[kind][0 if has_base else 1 : count + 1]]
            masks: list[torch.Tensor] = []
            try:
                with recorded(masks):
                    merged = merge_tensors(
                        tensors, method, parameters=parameters, base_index=0 if has_base else None
                    )
            except ValueError as error:
                print(f"no golden for {method} on {kind} with {parameters}: {error}")
                continue
            if not merged.isfinite().all():
                print(f"no golden for {method} on {kind} with {parameters}: not finite")
                continue
            number = len(cases)
            stored[f"merged/{number}"] = merged.contiguous().clone()
            stored |= {f"mask/{number}/{i}": mask.to(torch.uint8) for i, mask in enumerate(masks)}
            cases.append(
                {"method": method, "kind": kind, "models": count, "base": has_base, "parameters": parameters}
            )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(stored, folder / "tensors.safetensors", metadata=provenance())
    rows = ",\n".join(json.dumps(case) for case in cases)
    (folder / "cases.json").write_text(f"[\n{rows}\n]\n")
    (folder / "signatures.json").write_text(json.dumps(signatures(), indent=1) + "\n")
    print(f"{len(cases)} tensors")


def signatures() -> Named:
    """What mergekit's methods take, as it says itself."""
    from mergekit.merge_methods.registry import registered_methods

    return {
        method.spec.name: {
            "base": method.spec.contract.base.value,
            "inputs": [method.spec.contract.min_inputs, method.spec.contract.max_inputs],
            "non_base": [method.spec.contract.min_non_base, method.spec.contract.max_non_base],
            "parameters": {
                p.name: {
                    "scope": p.scope.value,
                    "type": getattr(p.value_type, "__name__", str(p.value_type)),
                    "default": "required" if p.required else p.default,
                }
                for p in method.spec.parameters
            },
        }
        for method in sorted(registered_methods(), key=lambda method: method.spec.name)
    }


class recorded:  # noqa: N801
    """Keeps the masks that mergekit draws."""

    def __init__(self, masks: list[torch.Tensor]) -> None:
        self._masks, self._draw = masks, torch.bernoulli

    def __enter__(self) -> None:
        torch.manual_seed(7)

        def draw(chances: torch.Tensor) -> torch.Tensor:
            self._masks.append(self._draw(chances).reshape(-1))
            return self._masks[-1].reshape(chances.shape).clone()

        torch.bernoulli = draw  # type: ignore[assignment]

    def __exit__(self, *_: object) -> None:
        torch.bernoulli = self._draw  # type: ignore[assignment]


def provenance() -> dict[str, str]:
    """What made a file; in one entry, for the order of several would not be the same twice."""
    names = ("mergekit", "torch", "transformers", "safetensors")
    return {"made_by": ", ".join(f"{name} {version(name)}" for name in names)}


# Whole models: the YAML files that lie in `FILES`, with tiny Llama models in the place of `{base}`, `{a}` and so on.

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 20,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}
CHANGES = {
    "base": 0.0,
    "a": 0.05,
    "b": 0.03,
    "c": 3e-4,
    "d": 2e-4,
    "tied_base": 0.0,
    "tied_a": 0.05,
    "tied_b": 0.03,
}
"""How far the weights of each model are from its base's, which are about 0.1."""


def make_models(folder: Path) -> None:
    """Write the tiny models."""
    generator = torch.Generator().manual_seed(15)
    bases: dict[bool, dict[str, torch.Tensor]] = {}
    for name, change in CHANGES.items():
        is_tied = name.startswith("tied")
        base = bases.setdefault(is_tied, drawn_model(generator, 0.1, is_tied=is_tied))
        changes = drawn_model(generator, change, is_tied=is_tied)
        tensors = {key: value + changes[key] for key, value in base.items()}
        (folder / name).mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / name / "model.safetensors", metadata={"format": "pt"})
        config = {**CONFIG, "tie_word_embeddings": is_tied}
        (folder / name / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def drawn_model(generator: torch.Generator, scale: float, *, is_tied: bool) -> dict[str, torch.Tensor]:
    """Random tensors with a Llama's names and shapes."""
    hidden, inner, heads = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["num_attention_heads"]
    narrow = hidden // heads * CONFIG["num_key_value_heads"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (CONFIG["vocab_size"], hidden)}
    for layer in range(CONFIG["num_hidden_layers"]):
        block = {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (narrow, hidden),
            "self_attn.v_proj": (narrow, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
    shapes["model.norm.weight"] = (hidden,)
    if not is_tied:
        shapes["lm_head.weight"] = (CONFIG["vocab_size"], hidden)
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def make_files(folder: Path) -> None:
    """Merge every YAML file as `mergekit-yaml` does, and write its tensors beside it."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    make_models(folder / "models")
    places = {f"{{{name}}}": str(folder / "models" / name) for name in CHANGES}
    options = MergeOptions(quiet=True, copy_tokenizer=False, write_model_card=False)
    files = sorted(folder.glob("*.yaml"))
    for file in files:
        text = file.read_text()
        for placeholder, place in places.items():
            text = text.replace(placeholder, place)
        with tempfile.TemporaryDirectory() as out:
            run_merge(MergeConfiguration.model_validate(yaml.safe_load(text)), out, options)
            tensors = {k: v for shard in Path(out).glob("*.safetensors") for k, v in load_file(shard).items()}
        save_file(tensors, file.with_suffix(".safetensors"), metadata=provenance())
    print(f"{len(files)} files")


if __name__ == "__main__":
    make_tensors(TENSORS)
    make_files(FILES)
