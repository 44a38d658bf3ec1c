"""From a name or a file to lm-eval's task objects, ready to ask.

A name may be that of a task, of a group or of a tag; the last two stand for several tasks.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from merganser._errors import TaskError
from merganser.evaluation.lm_eval._index import OwnFiles
from merganser.evaluation.lm_eval._library import lm_eval_library
from merganser.evaluation.lm_eval._settings import LmEvalSettings
from merganser.evaluation.lm_eval._trust import check_config, check_file

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

_SUFFIX = ".yaml"


def find_tasks(name: str, settings: LmEvalSettings) -> list[ConfigurableTask]:
    """The tasks that a name stands for, with their data and their number of examples set.

    Args:
        name: Name of a task, group or tag, or path of a task file.
        settings: How they are to be asked.

    Raises:
        TaskError: If there is no such task, it would run code, asks for more than texts, or its data are missing.
    """
    name, folders = _located(name, settings)
    manager = _manager_for(name, folders, trust=settings.trust)
    for config in _configs(manager, name):
        check_config(str(config.get("task") or config.get("group") or name), config, trust=settings.trust)
    try:
        loaded = manager.load(name)["tasks"]
    except TaskError:
        raise
    except Exception as error:  # tasks run code of their own while they load: anything may come
        raise TaskError(_why(manager, name, error)) from error
    if not loaded:
        raise TaskError(f"lm-eval's {name} stands for no task: its file names none that exists.")
    return [_prepared(task_name, task, settings) for task_name, task in loaded.items()]


def _located(name: str, settings: LmEvalSettings) -> tuple[str, list[str | Path]]:
    """The task file or name to load, and the folders to look in; a group's file is looked up by the group's name."""
    folders: list[str | Path] = []
    if settings.include_path is not None:
        folders.append(Path(settings.include_path).expanduser())
        if not Path(folders[0]).is_dir():
            raise TaskError(f"`include_path` must be a folder of task files, but {folders[0]} is none.")
    if not name.endswith(_SUFFIX):
        return name, folders
    file = Path(name).expanduser()
    if not file.is_file():
        raise TaskError(f"There is no task file {name}.")
    config = _read(file)
    return (str(config["group"]), [*folders, file.parent]) if "group" in config else (str(file), folders)


def _manager_for(name: str, folders: list[str | Path], *, trust: bool) -> TaskManager:
    """What knows the task, and everything that it names."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False, include_path=folders or None)
    if missing := _missing(manager, name):
        manager = _with_own(name, missing, folders)
    if not trust:
        own = Path(str(lm_eval_library().__file__)).parent
        for path in _files(manager, name):
            check_file(path, own)
    return manager


def _with_own(name: str, missing: list[str], folders: list[str | Path]) -> TaskManager:
    """The given folders and those of lm-eval's package that are needed; all of them for a tag, which may be anywhere.

    Raises:
        TaskError: If nobody knows a name.
    """
    from lm_eval.tasks import TaskManager

    files, own = OwnFiles(), set()
    while missing:
        more = {word: files.folders(word) for word in missing}
        if nowhere := [word for word, places in more.items() if not places]:
            raise TaskError(_unknown(name, nowhere[0], files.names()))
        new = {folder for places in more.values() for folder in places} - own
        if not new:
            break
        own |= new
        # of two files with one name lm-eval takes the first, and of two folders the last
        manager = TaskManager(include_defaults=False, include_path=[*sorted(own, reverse=True), *folders])
        missing = _missing(manager, name)
        if not missing and not any(
            manager.task_index[n].kind.name == "TAG" for n in _reachable(manager, name)
        ):
            return manager
    manager = TaskManager(include_path=folders or None)
    if missing := _missing(manager, name):
        raise TaskError(_unknown(name, missing[0], manager.all_tasks))
    return manager


def _unknown(name: str, word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    inside = "" if word == name else f" that {name} names"
    return (
        f"lm-eval has no task, group or tag {word!r}{inside}. {hint}`lm_eval ls tasks` lists them all; a folder of "
        "your own is given as `include_path`."
    )


def _files(manager: TaskManager, name: str) -> Iterator[Path]:
    if name.endswith(_SUFFIX):
        yield Path(name)
    for config_name in _reachable(manager, name):
        entry = manager.task_index.get(config_name)
        if entry is not None and entry.yaml_path is not None:
            yield entry.yaml_path


def _configs(manager: TaskManager, name: str) -> Iterator[Mapping[str, Any]]:
    """Everything that the files behind a name say, as plain data; what a group says of its members too."""
    if name.endswith(_SUFFIX):
        yield _read(Path(name))
    for config_name in _reachable(manager, name):
        entry = manager.task_index.get(config_name)
        if entry is not None and entry.cfg is not None:
            yield from _with_members(entry.cfg)


def _with_members(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield config
    for member in _members(config):
        if isinstance(member, Mapping):
            yield from _with_members(member)


def _missing(manager: TaskManager, name: str) -> list[str]:
    """Names on the way that the index does not have."""
    return [n for n in _reachable(manager, name) if n not in manager.task_index]


def _reachable(manager: TaskManager, name: str) -> list[str]:
    """The names of tasks, groups and tags that a name stands for, itself included; none for a file."""
    queue = [] if name.endswith(_SUFFIX) else [name]
    found: dict[str, None] = {}
    while queue:
        here = queue.pop()
        if here in found:
            continue
        found[here] = None
        entry = manager.task_index.get(here)
        if entry is None:
            continue
        if entry.cfg is not None and "group" in entry.cfg:
            queue += _member_names(entry.cfg)
        elif entry.cfg is None:  # a tag
            queue += sorted(entry.tags)
    return list(found)


def _members(config: Mapping[str, Any]) -> list[Any]:
    members = config.get("task")
    return members if isinstance(members, list) else []


def _member_names(config: Mapping[str, Any]) -> list[str]:
    """Names that a group refers to; what it defines on the spot has no name elsewhere."""
    names = []
    for member in _members(config):
        if isinstance(member, str):
            names.append(member)
        elif isinstance(member, Mapping):
            defines = isinstance(member.get("task"), list) or "dataset_path" in member
            names += _member_names(member) if defines else [str(member.get("group") or member.get("task"))]
    return names


def _read(file: Path) -> Mapping[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        config = load_yaml(file, resolve_func=False)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TaskError(f"The task file {file} cannot be read: {error}") from error
    if not isinstance(config.get("task"), str) and "group" not in config:
        raise TaskError(f"The task file {file} must name its `task:` or `group:`, but has neither.")
    return config


def _why(manager: TaskManager, name: str, error: Exception) -> str:
    """What went wrong while a task loaded; most often its data are not on this machine."""
    data = {
        (str(c["dataset_path"]), str(c.get("dataset_name") or "")): None
        for c in _configs(manager, name)
        if c.get("dataset_path")
    }
    said = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {said[0] if said else 'no reason given'}"
    remote = [(path, subset) for path, subset in data if "/" in path and not Path(path).exists()]
    if not remote:
        return f"lm-eval could not set up {name} ({what}). Check its task file and the data it names."
    path, subset = remote[0]
    given = ", ".join(repr(part) for part in (path, subset) if part)
    more = f" (and {len(remote) - 1} more)" if len(remote) > 1 else ""
    return (
        f"lm-eval could not set up {name} ({what}). Its data are {path!r} on the Hugging Face Hub{more}. Fetch them "
        f'once where there is a network: python -c "import datasets; datasets.load_dataset({given})"; they are then '
        "found offline too. Or write a task file with `dataset_path: json` and files of your own."
    )


def _prepared(name: str, task: Any, settings: LmEvalSettings) -> ConfigurableTask:
    from lm_eval.api.task import ConfigurableTask

    if not isinstance(task, ConfigurableTask):
        raise TaskError(
            f"{name} is written against an old interface of lm-eval, which is not supported here."
        )
    if getattr(task, "UNSAFE_CODE", False):
        raise TaskError(
            f"{name} runs code that the model writes, which needs a sandbox that there is none of here."
        )
    if getattr(task, "MULTIMODAL", False):
        raise TaskError(f"{name} shows images or sounds, and models here are asked texts only.")
    own = task.config.num_fewshot
    if own is None or (settings.num_fewshot is not None and own != 0):
        task.set_config("num_fewshot", settings.num_fewshot or 0)
    return task
