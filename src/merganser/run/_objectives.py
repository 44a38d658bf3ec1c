"""What a task says of objectives: its parts, or the odd and the even of its classes."""

from __future__ import annotations

import difflib

import numpy as np
from jaxtyping import Bool

from merganser._errors import ConfigError
from merganser.evaluation import Mixture, Task
from merganser.evolution import Objectives


def objectives_of(task: Task) -> Objectives | None:
    """Of several tasks one objective each; of one its odd and its even classes; None if it has no classes.

    Args:
        task: One split of the task.

    Raises:
        ValueError: If all samples are of odd class, or all of even class.
    """
    if isinstance(task, Mixture):
        return Objectives.of_sizes([p.name for p in task.parts], [len(p.samples) for p in task.parts])
    labels = task.samples.labels
    if labels is None:
        return None
    return Objectives(("odd classes", "even classes"), np.where(labels % 2 == 1, 0, 1))


def required_objectives(task: Task) -> Objectives:
    """The same for a search that cannot do without.

    Raises:
        ConfigError: If there are no objectives, or one of them has no sample.
    """
    try:
        found = objectives_of(task)
    except ValueError as error:
        raise ConfigError(f"`{task.name}` makes no two objectives: {error} Give several `tasks:`.") from error
    if found is None:
        raise ConfigError(
            f"This search weighs several objectives, but `{task.name}` is one task without classes. Give several "
            "`tasks:`, or use another search, such as natural-niches."
        )
    return found


def axes_of(task: Task, names: tuple[str, str] | None) -> Bool[np.ndarray, "2 samples"]:
    """Which samples belong to each of the two behaviours of MAP-Elites.

    Args:
        task: The search split.
        names: Names of two of several tasks; None for both of two, or for odd and even classes of one.

    Raises:
        ConfigError: If there are no such tasks, or more than two and none is named.
    """
    found = required_objectives(task)
    if names is None:
        if len(found.names) > 2:
            raise ConfigError(
                f"MAP-Elites has two axes, but there are {len(found.names)} tasks. Name two of them: "
                f"`search: {{axes: [{found.names[0]}, {found.names[1]}]}}`."
            )
        return found.groups
    for name in names:
        if name not in found.names:
            near = difflib.get_close_matches(name, found.names, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"`axes` names {name!r}, but the tasks are {', '.join(found.names)}.{hint}")
    if names[0] == names[1]:
        raise ConfigError(f"`axes` names {names[0]!r} twice. Name two tasks.")
    return found.groups[[found.names.index(name) for name in names]]
