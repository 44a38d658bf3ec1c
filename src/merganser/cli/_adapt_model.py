"""From what `merganser adapt …` is given to an adaptive model: a base with experts, an experts file, a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from merganser._errors import ConfigError
from merganser._text_file import read_text
from merganser.adaptation import open_expert
from merganser.adaptation.strategies import (
    AdaptiveModel,
    ByExpert,
    ByPrompt,
    DispatchPrompt,
    Fixed,
    Specialist,
    Strategy,
    is_adaptive,
    open_adaptive,
    read_adaptive_file,
)
from merganser.cli._output import MODEL_FORMS

Model = Annotated[
    str,
    typer.Argument(
        help=f"A base ({MODEL_FORMS}), an experts file (.yaml), or the folder of an adaptive model.",
        metavar="MODEL",
        show_default=False,
    ),
]
Experts = Annotated[
    list[str] | None,
    typer.Option(
        "--expert",
        "-e",
        help="An expert, and what it is for in one sentence; repeatable.",
        metavar="NAME=FILE.safetensors[:DESCRIPTION]",
        show_default="those of the file or folder",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder that keeps the decomposition of the base.", metavar="DIR", show_default="none"),
]
Dtype = Annotated[
    str | None, typer.Option(help="Element type to compute in.", show_default="that of the base")
]
Device = Annotated[str, typer.Option(help="Where to compute.")]

_SUFFIX = ".safetensors"
_STRATEGIES = ("prompt", "expert", "base")


def adaptive_model(
    model: str, experts: list[str] | None, *, cache: Path | None, dtype: str | None, device: str
) -> AdaptiveModel:
    """The model, with the strategy that its file or folder says; of a base with experts, the base is asked.

    Raises:
        ConfigError: If experts are missing, given twice, or written otherwise.
        CheckpointError: If something cannot be read, or an expert was made for another base.
    """
    if is_adaptive(model):
        if experts:
            raise ConfigError(f"{model} has its experts. Leave out --expert, or give its base instead.")
        return open_adaptive(model, cache=cache, dtype=dtype, device=device)
    if Path(model).suffix in (".yaml", ".yml"):
        file = read_adaptive_file(model)
        found = file.specialists() | named_experts(experts or [])
        return AdaptiveModel.of(file.base, found, file.strategy, cache=cache, dtype=dtype, device=device)
    if not experts:
        raise ConfigError(
            "Expected experts for the base, found none. Say which: --expert NAME=FILE.safetensors:DESCRIPTION"
        )
    return AdaptiveModel.of(model, named_experts(experts), cache=cache, dtype=dtype, device=device)


def named_experts(given: list[str]) -> dict[str, Specialist]:
    """Experts as `--expert` gives them, opened.

    Raises:
        ConfigError: If one is written otherwise, or a name is given twice.
        CheckpointError: If a file cannot be read.
    """
    found: dict[str, Specialist] = {}
    for each in given:
        name, _, rest = each.partition("=")
        file, suffix, words = rest.partition(_SUFFIX)
        if not name or not suffix or not (words == "" or words.startswith(":")):
            raise ConfigError(f"Expected --expert NAME=FILE{_SUFFIX}[:DESCRIPTION], found {each!r}.")
        if name in found:
            raise ConfigError(f"Two experts are called {name!r}. Give one of them another name.")
        found[name] = Specialist(open_expert(file + suffix), words.removeprefix(":").strip())
    return found


def chosen_strategy(
    model: AdaptiveModel, strategy: str | None, dispatcher: str | None, template: Path | None
) -> Strategy:
    """The strategy that options ask for; without them the model's.

    Args:
        model: The model.
        strategy: ``prompt``, ``expert``, ``base``, or ``fixed:NAME``.
        dispatcher: Name of the expert that is asked, for ``expert``.
        template: File of the dispatch prompt.

    Raises:
        ConfigError: If there is no such strategy, or options do not go with it.
    """
    prompt = model.strategy.prompt or DispatchPrompt()
    if template is not None:
        prompt = replace(prompt, template=read_text(template).rstrip("\n"))
    dispatcher = dispatcher or model.strategy.dispatcher
    kind = strategy or ("expert" if dispatcher else "prompt" if template else None)
    if kind is None:
        return model.strategy
    if kind.startswith("fixed:"):
        return Fixed(kind.removeprefix("fixed:"))
    if kind not in _STRATEGIES:
        raise ConfigError(f"Expected --strategy {', '.join(_STRATEGIES)} or fixed:NAME, found {kind!r}.")
    if kind == "expert":
        if dispatcher is None:
            raise ConfigError(
                "`--strategy expert` asks an expert that was trained to tell: --dispatcher NAME."
            )
        return ByExpert(dispatcher, prompt)
    return ByPrompt(prompt) if kind == "prompt" else Fixed()
