"""A training that is over, opened again."""

from __future__ import annotations

from pathlib import Path

from merganser._errors import ConfigError, RunError
from merganser._training_folder import read_training
from merganser.thinking.training._tasks import task_named
from merganser.thinking.training._train import ThinkingTrained, result


def open_thinking(folder: str | Path) -> ThinkingTrained:
    """What came of a training.

    Args:
        folder: Where it is.

    Raises:
        RunError: If there is none, it is damaged, or not over.
    """
    place = Path(folder).expanduser()
    found = read_training(place)
    if found["result"] is None:
        raise RunError(f"The training in {place} is not over. Give the command that began it once more.")
    try:
        settings = dict(found["of"]["task"])
        return result(place, task_named(settings.pop("kind"), **settings), found["result"])
    except (KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{place} holds no training of a thought machine: {error!r}.") from error
