"""What in a task file would run code, found before anything runs.

| found | what it does in lm-eval | allowed |
| --- | --- | --- |
| `!function utils.f` outside lm-eval's package | imports the Python file beside the task file | with `trust` |
| a metric for texts that is not lm-eval's own | loads a script of the Hugging Face Hub | with `trust` |
| `unsafe_code: true` | runs what the model wrote | never: it needs a sandbox |

Files are parsed to their nodes for this, and nothing is built from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from merganser._errors import TaskError

_DATA = "tag:yaml.org,2002:"


def check_file(path: Path, own: Path) -> None:
    """Make sure that a task file outside lm-eval's package, and all that it includes, is data only.

    Args:
        path: The file.
        own: Folder of lm-eval's package; files in it came with the library and are not looked at.

    Raises:
        TaskError: If a file cannot be read, or has a tag that would run code.
    """
    queue, seen = [path.expanduser().resolve()], set()
    while queue:
        file = queue.pop()
        if file in seen or file.is_relative_to(own.resolve()):
            continue
        seen.add(file)
        root = _parsed(file)
        for node in _nodes(root):
            if not node.tag.startswith(_DATA) or "python" in node.tag:
                what = f"{node.tag} {node.value}" if isinstance(node, yaml.ScalarNode) else node.tag
                raise TaskError(
                    f"{file}, line {node.start_mark.line + 1}: `{what}` runs Python code that stands beside the task "
                    "file. Read that code, and say `trust: true` if it may run here; or write the task without it."
                )
        queue += [(file.parent / name).resolve() for name in _includes(root)]


def check_config(name: str, config: Mapping[str, Any], *, trust: bool) -> None:
    """Make sure that a task runs no code of a model and, unless trusted, none of the Hub.

    Args:
        name: What people call the task.
        config: Its file as plain data, included files and all.
        trust: Whether metrics may be loaded as code.

    Raises:
        TaskError: If it does.
    """
    import lm_eval
    import lm_eval.api.metrics  # it fills the registry
    from lm_eval.api.registry import metric_registry

    own = str(Path(str(lm_eval.__file__)).parent)
    if config.get("unsafe_code"):
        raise TaskError(
            f"{name} runs code that the model writes, which needs a sandbox that there is none of here. "
            "Take another task, or run this one with lm_eval itself."
        )
    graded_by_metrics = config.get("output_type", "generate_until") == "generate_until"
    if trust or not graded_by_metrics or config.get("process_results") is not None:
        return  # choices and likelihoods are graded by lm-eval itself; a metric that does not load is not missed
    for entry in config.get("metric_list") or []:
        metric = entry.get("metric")
        is_own = not isinstance(metric, str) or metric in metric_registry or metric.startswith(own)
        if entry.get("hf_evaluate") or not is_own:
            raise TaskError(
                f"The metric {metric!r} of {name} is loaded as code from the Hugging Face Hub. Say `trust: true` if it "
                "may run here, or take a task with a metric of lm-eval's own."
            )


def _parsed(file: Path) -> yaml.Node | None:
    try:
        return yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"The task file {file} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise TaskError(f"The task file {file} is no valid YAML: {error}") from error


def _nodes(root: yaml.Node | None) -> Iterator[yaml.Node]:
    """All nodes, each once: anchors may lead in circles."""
    queue, seen = [root] if root is not None else [], set()
    while queue:
        node = queue.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            queue += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            queue += node.value


def _includes(root: yaml.Node | None) -> list[str]:
    if not isinstance(root, yaml.MappingNode):
        return []
    values = [value for key, value in root.value if key.value == "include"]
    names = [
        item
        for value in values
        for item in (value.value if isinstance(value, yaml.SequenceNode) else [value])
    ]
    return [str(node.value) for node in names]
