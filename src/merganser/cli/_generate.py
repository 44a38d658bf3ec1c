"""`merganser generate`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from merganser._errors import ConfigError, NonFiniteOutputError
from merganser._text_file import read_text
from merganser.cli._output import FAILED, Json, clear_errors, print_json, tables, words
from merganser.models import GenerationRequest, Response
from merganser.routing import load

if TYPE_CHECKING:
    from merganser.models import SpokenModel


class _Said(NamedTuple):
    """What one model answered to all prompts, and how fast."""

    model: str
    responses: list[Response]
    seconds: float

    @property
    def speed(self) -> float:
        """Tokens a second, over all prompts; reading them is part of it."""
        return sum(response.tokens for response in self.responses) / max(self.seconds, 1e-9)


def generate(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... [PROMPT]",
            help="Models: paths, hub ids, base+adapter, a recipe.json, or a routed or adaptive folder. The last word "
            "is the prompt, unless --prompt or --file gives it.",
        ),
    ],
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", help="What to continue; may be given several times.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A text file with one prompt a line.", dir_okay=False)
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.", min=1)] = 64,
    stop: Annotated[
        list[str] | None, typer.Option(help="A text that ends an answer; may be given several times.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Put prompts into the model's chat template, as a user's words.")
    ] = False,
    dtype: Annotated[
        str | None, typer.Option(help="Element type in memory, such as bfloat16.", show_default="the model's")
    ] = None,
    device: Annotated[str, typer.Option(help="Where models live: cpu, cuda, cuda:1, mps.")] = "cpu",
    seconds: Annotated[float | None, typer.Option(help="Time for the answers of one model.", min=0.0)] = None,
    as_json: Json = False,
) -> None:
    """Let models continue prompts, side by side: a child beside its parents."""
    with clear_errors():
        models, prompts = _split(arguments, prompt or [], file)
        said: list[_Said] = []
        for model in models:
            alive = load(model, dtype=dtype, device=device)
            said.append(
                _ask(alive, model, prompts, tuple(stop or ()), max_tokens, chat=chat, seconds=seconds)
            )
            del alive  # two models need not be held at a time
    if as_json:
        print_json({"prompts": prompts, "models": [_facts(each) for each in said]})
        return
    _print(prompts, said)


def _split(arguments: list[str], prompts: list[str], file: Path | None) -> tuple[list[str], list[str]]:
    """Models and prompts."""
    if prompts and file is not None:
        raise ConfigError("Expected one of --prompt and --file, found both. Leave one out.")
    if file is not None:
        prompts = [line for line in read_text(file).splitlines() if line.strip()]
        if not prompts:
            raise ConfigError(f"Expected a prompt a line in {file}, found none.")
    if prompts:
        return arguments, prompts
    if len(arguments) < 2:
        raise ConfigError(
            f"Expected models and a prompt, found only {arguments[0]!r}. Write: merganser generate MODEL 'PROMPT'"
        )
    return arguments[:-1], arguments[-1:]


def _ask(
    alive: SpokenModel,
    model: str,
    prompts: list[str],
    stop: tuple[str, ...],
    max_tokens: int,
    *,
    chat: bool,
    seconds: float | None,
) -> _Said:
    rendered = [alive.render([{"role": "user", "content": p}]) if chat else p for p in prompts]
    begin = time.perf_counter()
    try:
        responses = alive.generate(
            [GenerationRequest(p, stop, max_tokens) for p in rendered], seconds=seconds
        )
    except NonFiniteOutputError as error:
        words.print(f"[bold red]error:[/] {model}: {error}")
        raise typer.Exit(FAILED) from error
    return _Said(model, responses, time.perf_counter() - begin)


def _facts(said: _Said) -> dict[str, Any]:
    return {
        "model": said.model,
        "tokens_per_second": round(said.speed, 2),
        "answers": [{"text": r.text, "tokens": r.tokens, "ended": r.ended} for r in said.responses],
    }


def _print(prompts: list[str], said: list[_Said]) -> None:
    for i, prompt in enumerate(prompts):
        tables.print(prompt, style="bold", markup=False)
        for each in said:
            response = each.responses[i]
            tables.print(
                f"{each.model}  ({response.tokens} tokens, {response.ended}; {each.speed:.1f} tokens/s)",
                style="dim",
                markup=False,
            )
            tables.print(response.text, markup=False)
