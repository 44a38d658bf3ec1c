"""mergekit-evolve's YAML, read; whatever is wrong is named with its line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from merganser._errors import ConfigError
from merganser._text_file import read_text
from merganser.interop.mergekit._yaml import Node, read_documents
from merganser.interop.mergekit_evolve._config import (
    METHODS,
    NEED_BASE,
    EvolvedMerge,
    MergekitEvolveConfig,
    WeightedTask,
)

_KEYS = (
    *("genome", "tasks", "limit", "num_fewshot", "shuffle", "random_init"),
    *("apply_chat_template", "fewshot_as_multiturn"),
)
_GENOME = (
    *("models", "merge_method", "base_model", "tokenizer_source", "layer_granularity"),
    *("normalize", "allow_negative_weights", "filters", "smooth"),
)
_TASK = ("name", "weight", "metric")


def read_mergekit_evolve(path: Path | str) -> MergekitEvolveConfig:
    """Read a file for mergekit-evolve.

    Raises:
        ConfigError: If it cannot be read, or something in it is wrong, with the line.
    """
    return parse_mergekit_evolve(read_text(path), str(path))


def is_mergekit_evolve(path: Path | str) -> bool:
    """Whether a YAML file is one for mergekit-evolve: it says by which `merge_method` genomes are merged."""
    try:
        data = yaml.safe_load(read_text(path))
    except (ConfigError, yaml.YAMLError):
        return False
    genome = data.get("genome") if isinstance(data, dict) else None
    return isinstance(genome, dict) and "merge_method" in genome


def parse_mergekit_evolve(text: str, source: str = "the configuration") -> MergekitEvolveConfig:
    """Read the text of such a file.

    Args:
        text: The YAML.
        source: What to call it in messages.

    Raises:
        ConfigError: If something in it is wrong, with the line.

    Examples:
        >>> text = "{genome: {models: [a, b], merge_method: linear}, tasks: [{name: arc_easy}]}"
        >>> config = parse_mergekit_evolve(text)
        >>> config.genome.models, config.tasks[0].weight, config.genome.is_normalized
        (('a', 'b'), 1.0, True)
    """
    document, *more = read_documents(text, source)
    if more:
        more[0].fail("is a second document. mergekit-evolve reads one.")
    found = document.entries(_KEYS)
    genome = _genome(_required(document, found, "genome"))
    tasks = _required(document, found, "tasks")
    listed = tuple(_task(node) for node in tasks.items())
    if not listed:
        tasks.fail("must name at least one task.")
    return MergekitEvolveConfig(
        genome,
        listed,
        _count(found, "limit", least=1),
        _count(found, "num_fewshot", least=0),
        _flag(found, "shuffle", default=False),
        _flag(found, "random_init", default=False),
        _flag(found, "apply_chat_template", default=True),
        _flag(found, "fewshot_as_multiturn", default=True),
    )


def _genome(node: Node) -> EvolvedMerge:
    found = node.entries(_GENOME)
    method = _method(_required(node, found, "merge_method"))
    models = _required(node, found, "models")
    names = tuple(item.text() for item in models.items())
    if len(names) < 2:
        models.fail(f"must name at least two models, but names {len(names)}.")
    if method in NEED_BASE and "base_model" not in found:
        node.fail(f"has the method `{method}`, which needs a base. Add `base_model:`.")
    filters = tuple(item.text() for item in found["filters"].items()) if "filters" in found else ()
    smooth = _flag(found, "smooth", default=False)
    if method == "slerp":
        for key in ("filters", "smooth"):
            if key in found and (filters if key == "filters" else smooth):
                found[key].fail("is not for slerp, which has one weight for each group of layers.")
    return EvolvedMerge(
        names,
        method,
        _text(found, "base_model"),
        _text(found, "tokenizer_source"),
        _count(found, "layer_granularity", least=0) or 0,
        found["normalize"].flag() if "normalize" in found else None,
        _flag(found, "allow_negative_weights", default=False),
        filters,
        smooth,
    )


def _method(node: Node) -> str:
    method = node.text()
    if method not in METHODS:
        node.fail(f"is {method!r}, but mergekit-evolve has only {', '.join(METHODS)}.")
    return method


def _task(node: Node) -> WeightedTask:
    found = node.entries(_TASK)
    name = _required(node, found, "name").text()
    weight = float(found["weight"].number()) if "weight" in found else 1.0
    return WeightedTask(name, weight, _text(found, "metric") or "acc,none")


def _required(node: Node, found: Mapping[str, Node], key: str) -> Node:
    return found[key] if key in found else node.fail(f"lacks `{key}:`, which is required.")


def _count(found: Mapping[str, Node], key: str, *, least: int) -> int | None:
    if key not in found:
        return None
    count = found[key].whole()
    if count < least:
        found[key].fail(f"must be {least} or more, but is {count}.")
    return count


def _flag(found: Mapping[str, Node], key: str, *, default: bool) -> bool:
    return found[key].flag() if key in found else default


def _text(found: Mapping[str, Node], key: str) -> str | None:
    return found[key].text() if key in found else None
