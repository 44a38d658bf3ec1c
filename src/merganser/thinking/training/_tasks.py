"""Tasks by name.

| name | task | inputs | answers |
| --- | --- | --- | --- |
| `parity` | [`Parity`][]: after each sign, is the number of minus ones odd? | signs, ±1 | one of 2 at each position |
| `digits` | [`Digits`][]: handwritten digits of scikit-learn | pictures of 8×8, in [0, 1] | one of 10 |
| `maze` | [`MazeRoutes`][]: the shortest way through a maze | pictures, in [0, 1] | one of 5 moves at each step |
| `maze-files` | [`MazeFiles`][]: the same, in files | pictures, in [0, 1] | one of 5 moves at each step |
| `fashion` | [`Fashion`][]: clothes of Fashion-MNIST, in files | pictures of 28×28, in [0, 1] | one of 10 |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from merganser._errors import ConfigError
from merganser.thinking.training._digits import Digits
from merganser.thinking.training._fashion import Fashion
from merganser.thinking.training._maze_files import MazeFiles
from merganser.thinking.training._maze_routes import MazeRoutes
from merganser.thinking.training._parity import Parity
from merganser.thinking.training._task import ThinkingTask

TASKS: Mapping[str, Callable[..., ThinkingTask]] = {
    "parity": Parity,
    "digits": Digits,
    "maze": MazeRoutes,
    "maze-files": MazeFiles,
    "fashion": Fashion,
}
"""Tasks by name."""


def task_named(name: str, **settings: Any) -> ThinkingTask:
    """A task by its name.

    Args:
        name: One of [`TASKS`][].
        settings: Its own fields.

    Raises:
        ConfigError: If there is no such task, or it has no such field.
    """
    if name not in TASKS:
        raise ConfigError(f"Expected a task among {', '.join(TASKS)}, found {name!r}.")
    try:
        return TASKS[name](**settings)
    except TypeError as error:
        raise ConfigError(f"The task {name} cannot be set up from {settings}: {error}.") from error
