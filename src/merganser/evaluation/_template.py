r"""Filling in templates: `{question}` for most, Jinja for the rest.

A template that holds `{{` or `{%` is Jinja, in a sandbox where an unknown name is an error. In all others every
`{name}` is replaced, and nothing else is: `\boxed{}` and `{1, 2}` stay as they are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from merganser._errors import ConfigError

_NAME = re.compile(r"\{([A-Za-z_]\w*)\}")


def fill(template: str, fields: Mapping[str, str]) -> str:
    r"""The template with its fields filled in.

    Args:
        template: The template.
        fields: Values by name.

    Raises:
        ConfigError: If it names a field that there is not, or is no template.

    Examples:
        >>> fill(r"Q: {question} \boxed{}", {"question": "1 + 1?"})
        'Q: 1 + 1? \\boxed{}'
    """
    if is_jinja(template):
        return _fill_jinja(template, fields)

    def value(match: re.Match[str]) -> str:
        if match[1] not in fields:
            raise ConfigError(_unknown(template, match[1], fields))
        return fields[match[1]]

    return _NAME.sub(value, template)


def names_in(template: str) -> frozenset[str]:
    """The fields a template names.

    Raises:
        ConfigError: If it is Jinja with a fault.
    """
    if not is_jinja(template):
        return frozenset(_NAME.findall(template))
    from jinja2 import TemplateError, meta

    try:
        return frozenset(meta.find_undeclared_variables(_environment().parse(template)))
    except TemplateError as error:
        raise ConfigError(f"The template {template!r} is no Jinja: {error}.") from error


def is_jinja(template: str) -> bool:
    """Whether a template is Jinja."""
    return "{{" in template or "{%" in template


def _fill_jinja(template: str, fields: Mapping[str, str]) -> str:
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        return _compiled(template).render(fields)
    except TemplateSyntaxError as error:
        raise ConfigError(f"The template {template!r} is no Jinja: {error}.") from error
    except TemplateError as error:
        raise ConfigError(
            f"The template {template!r} cannot be filled in: {error}. Fields: {', '.join(fields)}."
        ) from error


@cache
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


def _unknown(template: str, name: str, fields: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(name, fields, n=1)
    hint = f"Did you mean `{{{near[0]}}}`?" if near else f"Fields: {', '.join(fields)}."
    return (
        f"The template {template!r} names `{{{name}}}`, which the question lacks. {hint} "
        "To write such braces, use Jinja."
    )
