"""Options for the parameters of merge methods, made from the methods themselves."""

from __future__ import annotations

import functools
import inspect
import keyword
from collections.abc import Callable
from typing import Annotated, Any

import typer

from merganser.merging import METHODS, Parameter, parameters_of

_PANEL = "Parameters of the method (`merganser methods NAME` tells them one by one)"


def with_parameters(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose `parameters` are options: one for every parameter of every method.

    Typer reads a signature, so it is given one that has them.
    """
    extra = [_option(name, users) for name, users in _users_by_parameter().items()]
    names = {option.name for option in extra}

    @functools.wraps(command)
    def called(**values: Any) -> None:
        given = {
            name.rstrip("_"): _value(name, values.pop(name)) for name in names if values[name] is not None
        }
        command(**{name: value for name, value in values.items() if name not in names}, parameters=given)

    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "parameters"]
    called.__signature__ = signature.replace(parameters=[*own, *extra])  # pyright: ignore[reportAttributeAccessIssue]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *extra)}
    return called


def _users_by_parameter() -> dict[str, list[tuple[str, Parameter]]]:
    users: dict[str, list[tuple[str, Parameter]]] = {}
    for name, method in METHODS.items():
        for parameter in parameters_of(method):
            users.setdefault(parameter.name, []).append((name, parameter))
    return users


def _option(name: str, users: list[tuple[str, Parameter]]) -> inspect.Parameter:
    """An option for a parameter that several methods may share."""
    first = users[0][1]
    kind = {"flag": bool, "number": float, "count": int}.get(first.kind, str)
    metavar = "|".join(first.choices) or {"numbers": "N[,N…]", "number": "N", "count": "N"}.get(first.kind)
    dashed = name.replace("_", "-")
    flag = f"--{dashed}/--no-{dashed}" if first.kind == "flag" else f"--{dashed}"
    said = f"{first.help[0].upper()}{first.help[1:]} ({', '.join(user for user, _ in users)})."
    option = typer.Option(flag, help=said, metavar=metavar, rich_help_panel=_PANEL)
    python_name = f"{name}_" if keyword.iskeyword(name) else name
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(
        python_name, keyword_only, default=None, annotation=Annotated[kind | None, option]
    )


def _value(name: str, text: Any) -> Any:
    """One number, or one for each model with commas between; words and flags as they are."""
    is_numbers = any(p.kind == "numbers" for _, p in _users_by_parameter()[name.rstrip("_")])
    if not is_numbers:
        return text
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"--{name.rstrip('_')} takes a number, or one a model as in 0.6,0.4, not {text!r}."
        ) from None
    return numbers[0] if len(numbers) == 1 else numbers
