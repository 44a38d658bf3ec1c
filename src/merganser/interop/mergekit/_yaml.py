"""YAML that remembers its lines, so that a message can say where something is wrong."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import yaml

from merganser._errors import ConfigError

_T = TypeVar("_T")

_MERGE = "tag:yaml.org,2002:merge"

_MOST_NODES = 1_000_000
"""Values that a document may have, counted wherever an alias repeats them; real ones have some hundreds."""

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Node:
    """A value in a YAML file.

    Args:
        source: The file, for messages.
        path: Where it is, for messages: ``slices[0].sources[1].model``; empty for the document itself.
        content: What the parser made of it.
        key: The key that it is the value of, if it is one.
    """

    source: str
    path: str
    content: yaml.Node
    key: yaml.Node | None = None

    @property
    def line(self) -> int:
        """The line where it begins, its key included; counted from 1."""
        return (self.content if self.key is None else self.key).start_mark.line + 1

    def fail(self, message: str) -> NoReturn:
        """Say what is wrong with it.

        Raises:
            ConfigError: Always.
        """
        where = f"`{self.path}` " if self.path else ""
        raise ConfigError(f"{self.source}, line {self.line}: {where}{message}")

    def trying(self, make: Callable[[], _T]) -> _T:
        """What a function makes of it; its complaint becomes one that says where.

        Raises:
            ConfigError: If the function raises a ValueError or ConfigError.
        """
        try:
            return make()
        except (ValueError, ConfigError) as error:
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
            key = Node(self.source, self.path, key_content).value
            if not isinstance(key, str):
                Node(self.source, self.path, key_content).fail("has a key that is no text. Put it in quotes.")
            here = Node(self.source, f"{self.path}.{key}" if self.path else key, key_content)
            if key in found:
                here.fail(f"is given twice, first in line {found[key].line}. Leave one out.")
            if known is not None and key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                here.fail(
                    f"is not known. {f'Did you mean `{close[0]}`?' if close else f'Known are {_listed(known)}.'}"
                )
            found[key] = Node(self.source, here.path, content, key_content)
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
        """A scalar's value; None for what is none.

        Raises:
            ConfigError: If it has a tag that plain YAML does not, or is not what its tag says.
        """
        if not isinstance(self.content, yaml.ScalarNode):
            return None
        try:
            return yaml.SafeLoader("").construct_object(self.content)
        except (yaml.YAMLError, ValueError, LookupError, AttributeError):
            self.fail(
                f"is no plain value: {_short(repr(self.content.value))} does not fit the tag {self.content.tag}."
            )

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
        """A finite number; one that YAML takes for text, such as 1e-5, too.

        Raises:
            ConfigError: If it is none.
        """
        value = self.value
        if isinstance(value, str):
            with suppress(ValueError):
                value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f"must be a number, but is {self._shown()}.")
        if not abs(value) <= sys.float_info.max:
            self.fail(f"must be a finite number, but is {self._shown()}.")
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
        if not isinstance(self.content, yaml.ScalarNode):
            return "a mapping" if self.is_mapping else "a list"
        value, written = self.value, self.content.value
        if value is None or value == "":
            return "empty"
        return _short(repr(written) if isinstance(value, str) else written)


def read_documents(text: str, source: str) -> list[Node]:
    """The documents of a YAML text.

    Raises:
        ConfigError: If it is no YAML, holds none, or has aliases that lead to themselves or to too much.
    """
    try:
        documents = [Node(source, "", content) for content in yaml.compose_all(text, yaml.SafeLoader)]
        sizes = [_size(document, {}) for document in documents]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        why = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{source}, line {line}: this is no YAML: {why}.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{source}, line {line}: this is no YAML: it holds the character U+{error.character:04X}."
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{source} is nested too deeply. Expected a merge in mergekit's YAML.") from error
    for document, size in zip(documents, sizes, strict=True):
        if size > _MOST_NODES:
            document.fail(f"aliases make {size} values of what is written here. Write a smaller merge.")
    found = [node for node in documents if not node.is_empty]
    if not found:
        raise ConfigError(f"{source}, line 1: there is nothing here. Expected a merge in mergekit's YAML.")
    return found


def _size(node: Node, sizes: dict[int, int | None]) -> int:
    """How many values a node has, those that aliases repeat counted each time.

    Args:
        node: The node.
        sizes: What is known, by the identity of the content; None for what is being counted.
    """
    content = node.content
    if id(content) not in sizes:
        sizes[id(content)] = None
        children = content.value if isinstance(content, yaml.CollectionNode) else []
        if isinstance(content, yaml.MappingNode):
            children = [part for pair in children for part in pair]
        sizes[id(content)] = 1 + sum(_size(Node(node.source, "", child), sizes) for child in children)
    size = sizes[id(content)]
    if size is None:
        node.fail("there is an alias that leads back to itself.")
    return size


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _own(content: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    return ((key, value) for key, value in content.value if key.tag != _MERGE)


def _inherited(content: yaml.MappingNode) -> Iterator[yaml.Node]:
    """The mappings that `<<` takes in, the ones that count most first."""
    for key, value in content.value:
        if key.tag == _MERGE:
            yield from value.value if isinstance(value, yaml.SequenceNode) else [value]


def _listed(known: Collection[str]) -> str:
    return ", ".join(f"`{key}`" for key in known)
