"""YAML that remembers its lines, so that a message can say where something is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import yaml

from merganser._errors import ConfigError

_T = TypeVar("_T")

_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a YAML file.

    Args:
        source: The file, for messages.
        path: Where it is, for messages: ``slices[0].sources[1].model``; empty for the document itself.
        content: What the parser made of it.
    """

    source: str
    path: str
    content: yaml.Node

    @property
    def line(self) -> int:
        """Its line, counted from 1."""
        return self.content.start_mark.line + 1

    def fail(self, message: str) -> NoReturn:
        """Say what is wrong with it.

        Raises:
            ConfigError: Always.
        """
        where = f"`{self.path}` " if self.path else ""
        raise ConfigError(f"{self.source}, line {self.line}: {where}{message}")

    def trying(self, make: Callable[[], _T]) -> _T:
        """What a function makes of it; its ValueError becomes one that says where.

        Raises:
            ConfigError: If the function raises a ValueError.
        """
        try:
            return make()
        except ValueError as error:
            self.fail(f"is not right: {error}")

    @property
    def is_mapping(self) -> bool:
        """Whether it has keys."""
        return isinstance(self.content, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.content, yaml.SequenceNode)

    def items(self) -> list[Node]:
        """The items of a list.

        Raises:
            ConfigError: If it is none.
        """
        if not isinstance(self.content, yaml.SequenceNode):
            self.fail(f"must be a list, but is {self._shown()}.")
        return [Node(self.source, f"{self.path}[{i}]", item) for i, item in enumerate(self.content.value)]

    def entries(self, known: Collection[str] | None = None) -> dict[str, Node]:
        """The values of a mapping by their keys.

        Args:
            known: The keys it may have; None for any.

        Raises:
            ConfigError: If it is none, or a key is unknown, given twice, or no text.
        """
        if not isinstance(self.content, yaml.MappingNode):
            self.fail(f"must have keys ({', '.join(known or ['name: value'])}), but is {self._shown()}.")
        found: dict[str, Node] = {}
        for key_content, content in _own(self.content):
            key = yaml.SafeLoader("").construct_object(key_content, deep=True)
            here = Node(self.source, f"{self.path}.{key}" if self.path else str(key), key_content)
            if not isinstance(key, str):
                here.fail("is no name: a key must be text.")
            if key in found:
                here.fail(f"is given twice, first in line {found[key].line}. Leave one out.")
            if known is not None and key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                here.fail(
                    f"is not known. {f'Did you mean `{close[0]}`?' if close else f'Known are {_listed(known)}.'}"
                )
            found[key] = Node(self.source, here.path, content)
        for inherited in _inherited(self.content):
            node = Node(self.source, self.path, inherited)
            found = {**node.entries(known), **found}
        return {key: node for key, node in found.items() if not node.is_empty}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said, or `null`."""
        return isinstance(self.content, yaml.ScalarNode) and self.value is None

    @property
    def value(self) -> Any:
        """A scalar's value, or the whole as plain data.

        Raises:
            ConfigError: If it holds what plain YAML does not, or itself.
        """
        try:
            return yaml.SafeLoader("").construct_object(self.content, deep=True)
        except yaml.YAMLError as error:
            self.fail(f"is no plain value: {getattr(error, 'problem', error)}.")

    def text(self) -> str:
        """A text.

        Raises:
            ConfigError: If it is none, or empty.
        """
        value = self.value
        if not isinstance(value, str) or not value.strip():
            self.fail(f"must be text, but is {self._shown()}.")
        return value

    def number(self) -> int | float:
        """A number; one that YAML takes for text, such as 1e-5, too.

        Raises:
            ConfigError: If it is none.
        """
        value = self.value
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                pass
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f"must be a number, but is {self._shown()}.")
        return value

    def whole(self) -> int:
        """A whole number.

        Raises:
            ConfigError: If it is none.
        """
        value = self.number()
        if value != int(value):
            self.fail(f"must be a whole number, but is {self._shown()}.")
        return int(value)

    def flag(self) -> bool:
        """True or false; 1 and 0 too.

        Raises:
            ConfigError: If it is neither.
        """
        value = self.value
        if value not in (True, False):
            self.fail(f"must be true or false, but is {self._shown()}.")
        return bool(value)

    def _shown(self) -> str:
        if self.is_mapping:
            return "a mapping"
        if self.is_list:
            return "a list"
        value = self.value
        return "empty" if value is None or value == "" else repr(value)


def read_documents(text: str, source: str) -> list[Node]:
    """The documents of a YAML text.

    Raises:
        ConfigError: If it is no YAML, or holds none.
    """
    try:
        documents = [content for content in yaml.compose_all(text, yaml.SafeLoader) if content is not None]
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{source} is no YAML: {error}") from error
    found = [Node(source, "", content) for content in documents]
    found = [node for node in found if not node.is_empty]
    if not found:
        raise ConfigError(f"{source} is empty. Expected a merge in mergekit's YAML.")
    return found


def _own(content: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    return ((key, value) for key, value in content.value if key.tag != _MERGE)


def _inherited(content: yaml.MappingNode) -> Iterator[yaml.Node]:
    """The mappings that `<<` takes in, the ones that count most first."""
    for key, value in content.value:
        if key.tag == _MERGE:
            yield from value.value if isinstance(value, yaml.SequenceNode) else [value]


def _listed(known: Collection[str]) -> str:
    return ", ".join(f"`{key}`" for key in known)
