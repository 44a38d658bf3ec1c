"""Paths as ordinary merges: slices of blocks, scales folded into weights.

Nothing is needed to run the result but the library that runs the parents. What is not derived is refused:

| family | blocks | why |
| --- | --- | --- |
| Llama, Mistral, Qwen 2 and 3, Phi-3 | add to the stream what they make of its RMS norm | folded |
| Gemma 2 and 3, OLMo 2 | norm what they add, too | a factor on it is lost in that norm |
| GPT-2, GPT-NeoX, Falcon, Phi, StableLM | LayerNorm, some with both parts at once | not derived |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from merganser._errors import CheckpointError
from merganser.merging._blueprint import Blueprint, Module, Slice, Source
from merganser.merging._layer_path import Fold, Hop, LayerPath
from merganser.merging._plan import MergePlan
from merganser.merging._planner import Planner
from merganser.merging._planning import plan_blueprint
from merganser.merging._settings import Case, Setting
from merganser.weights import Checkpoint, Stream, is_derived, streams_of

PATH_FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi3")
"""Values of `model_type` whose blocks are known to add what they make of the stream's RMS norm."""

_ATTENTION, _MLP = "self_attn.o_proj.", "mlp.down_proj."
"""The last matrices of the two parts of a block, and their biases, in all these families."""

_DECIDING = (
    "hidden_act",
    "num_attention_heads",
    "head_dim",
    "rms_norm_eps",
    "sliding_window",
    "use_sliding_window",
    "partial_rotary_factor",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
)
"""Settings that decide what a block computes, and that the shapes of its tensors do not show."""


def plan_path(path: LayerPath, seeds: Sequence[Checkpoint]) -> MergePlan:
    """A path as a plan of the streaming executor; what it makes is a model of as many blocks as the path has hops.

    Args:
        path: The path.
        seeds: Its models, in any order: they are known by their digests.

    Raises:
        ValueError: If a seed that the path names is missing, or has fewer blocks.
        CheckpointError: If models do not fit together, or are of a family for which scales cannot be folded.
    """
    models = seeds_of(path, seeds)
    check_parents(models)
    return plan_blueprint(path_blueprint(path), models)


def path_config(path: LayerPath, seeds: Sequence[Checkpoint]) -> Mapping[str, Any]:
    """Configuration of the model that a path makes, without planning its tensors.

    Args:
        path: The path.
        seeds: Its models, in any order, of which `check_parents` holds.

    Raises:
        ValueError: If a seed that the path names is missing, or has fewer blocks.
    """
    return Planner(path_blueprint(path), seeds_of(path, seeds)).config()


def seeds_of(path: LayerPath, seeds: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """A path's models in its order.

    Raises:
        ValueError: If one is missing.
    """
    by_digest = {checkpoint.digest: checkpoint for checkpoint in seeds}
    missing = next((digest for digest in path.seeds if digest not in by_digest), None)
    if missing is not None:
        raise ValueError(
            f"The path needs the model with digest {missing}, but the given ones have "
            f"{', '.join(sorted(by_digest)) or 'none'}. A path is only valid for the very files it was made from."
        )
    return tuple(by_digest[digest] for digest in path.seeds)


def path_blueprint(path: LayerPath) -> Blueprint:
    """The merge that makes a path a model: slices of blocks, with what scales fold into on their two last matrices.

    Models are numbered as the path's seeds are. With names for them it can be said as mergekit's YAML.

    Raises:
        ValueError: If scales multiply to a number that is zero or infinite.

    Examples:
        >>> path = LayerPath(("a",), (Hop(0, 0), Hop(0, 1, 0.5)))
        >>> [slice_.settings["scale"].to_json() for slice_ in path_blueprint(path).slices if slice_.settings]
        [[{'value': 2.0, 'filter': 'self_attn.o_proj.'}, {'value': 2.0, 'filter': 'mlp.down_proj.'}, {'value': 1.0}]]
    """
    runs: list[tuple[Hop, int, Fold]] = []  # first hop, number of blocks, and what they share
    for hop, fold in zip(path.hops, path.folded(), strict=True):
        first, count, shared = runs[-1] if runs else (hop, 0, fold)
        if count and (hop.model, hop.block, fold) == (first.model, first.block + count, shared):
            runs[-1] = (first, count + 1, shared)
        else:
            runs.append((hop, 1, fold))
    return Blueprint("passthrough", (Module(tuple(_slice(*run) for run in runs)),))


def check_parents(models: Sequence[Checkpoint]) -> None:
    """Make sure that a token can go from a block of any of these models to one of any other.

    Raises:
        CheckpointError: If a model is of a family for which that is not derived, or two differ in what a block is.
    """
    first = models[0]
    for model in models:
        family = model.config.get("model_type")
        if family not in PATH_FAMILIES:
            raise CheckpointError(
                f"Expected a model whose blocks add to the stream what they make of its RMS norm "
                f"({', '.join(PATH_FAMILIES)}), but {model.source} is {family!r}: for that family it is not derived "
                "how scales act. Use models of those families."
            )
        if family != first.config["model_type"]:
            raise CheckpointError(
                f"Expected models of one family, but {first.source} is {first.config['model_type']!r} and "
                f"{model.source} is {family!r}: one configuration cannot speak of both."
            )
        _check_shapes(first, model)
        _check_settings(first, model)


def path_stack(model: Checkpoint) -> Stream:
    """The one stack of blocks of a model.

    Raises:
        CheckpointError: If it has none, or several.
    """
    stacks = streams_of(model)
    if len(stacks) != 1:
        raise CheckpointError(
            f"Expected one stack of blocks in {model.source}, found {len(stacks)}. Paths go through language "
            "models only."
        )
    return stacks[0]


def _slice(first: Hop, count: int, fold: Fold) -> Slice:
    source = Source(first.model, (first.block, first.block + count))
    if fold == (1.0, 1.0):
        return Slice((source,))
    cases = (Case(fold.attention, _ATTENTION), Case(fold.mlp, _MLP), Case(1.0))
    return Slice((source,), settings={"scale": Setting(cases)})


def _check_settings(first: Checkpoint, other: Checkpoint) -> None:
    for key in _DECIDING:
        if key in first.config and key in other.config and first.config[key] != other.config[key]:
            raise CheckpointError(
                f"Expected blocks that compute alike, but `{key}` is {first.config[key]!r} in {first.source} and "
                f"{other.config[key]!r} in {other.source}. Use models tuned from one."
            )


def _check_shapes(first: Checkpoint, other: Checkpoint) -> None:
    """Compare the tensors of all blocks with those of the first model's first."""
    wanted = _shapes(first)[path_stack(first).blocks[0]]
    for block, found in _shapes(other).items():
        if found == wanted:
            continue
        part = next(p for p in (*wanted, *found) if wanted.get(p) != found.get(p))
        here, there = _said(wanted.get(part)), _said(found.get(part))
        raise CheckpointError(
            f"Expected blocks of one shape, but {part!r} is {here} in {first.source} and {there} in block {block!r} of "
            f"{other.source}: what one hands over does not fit the other. Use models tuned from one."
        )


def _shapes(model: Checkpoint) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
    """For each block of a model the shapes of its tensors."""
    blocks = set(path_stack(model).blocks)
    return {
        layer.name: {
            name.removeprefix(f"{layer.name}."): model.spec(name).shape
            for name in layer.tensors
            if not is_derived(model.spec(name))
        }
        for layer in model.layers
        if layer.name in blocks
    }


def _said(shape: Any) -> str:
    return "missing" if shape is None else f"of shape {shape}"
