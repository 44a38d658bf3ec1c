"""`merganser statistics`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from merganser.cli._output import Json, clear_errors, print_json, words
from merganser.evaluation import read_arrays
from merganser.merging import Statistics, save_statistics
from merganser.models import (
    Batch,
    Names,
    collect,
    collect_merged,
    load,
    perceptron_module,
    read_texts,
    text_batches,
)
from merganser.weights import Checkpoint, open_checkpoint, refuse_existing

_ROWS = 256
"""Arrays of a batch."""

_Kind = Literal["gram", "fisher"]


def statistics(
    models: Annotated[list[str], typer.Argument(help="The model; with --merged, all models of the merge.")],
    data: Annotated[
        list[str],
        typer.Option(
            help="What to measure on: .txt or .jsonl (`text`, `prompt` or `question`) for language models; .npz or "
            "`digits` for perceptrons. With --merged once for each model."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="FILE.safetensors, or a folder; with --merged a folder for all."),
    ],
    kind: Annotated[
        str,
        typer.Option(
            help="gram: inputs of every layer, for regmean; fisher: how much the model depends on every parameter.",
            metavar="gram|fisher",
        ),
    ] = "gram",
    merged: Annotated[
        bool,
        typer.Option(
            "--merged", help="Inputs come through the merged layers before each: for regmean_plus_plus."
        ),
    ] = False,
    samples: Annotated[int, typer.Option(help="Most samples.", min=1)] = 256,
    most_tokens: Annotated[
        int, typer.Option("--max-tokens", help="Tokens of a sample; longer texts are cut.", min=1)
    ] = 512,
    alpha: Annotated[float, typer.Option(help="With --merged: as the merge has it.", min=0, max=1)] = 0.9,
    ridge: Annotated[float, typer.Option(help="With --merged: as the merge has it.", min=0)] = 1e-6,
    seed: Annotated[int, typer.Option(help="Key of the labels that --kind fisher draws.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, mps.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a model on data, for merges that need it; the file can be shared in the data's place."""
    with clear_errors():
        _check(kind, models, data, merged=merged)
        refuse_existing(out, overwrite=overwrite)
        opened = [open_checkpoint(model) for model in models]
        if len(data) == 1:
            data = data * len(models)
        ready = [
            _ready(model, each, samples, most_tokens, device)
            for model, each in zip(opened, data, strict=True)
        ]
        if merged:
            modules, batches, [names, *_] = zip(*ready, strict=True)
            found = collect_merged(
                modules, batches, checkpoints=opened, names=names, alpha=alpha, ridge=ridge
            )
            places = [out / f"{i}-{Path(model).stem}.safetensors" for i, model in enumerate(models, start=1)]
        else:
            [(module, batches, names)], [model] = ready, opened
            wanted = cast("_Kind", kind)
            found = [collect(module, batches, checkpoint=model, kind=wanted, names=names, seed=seed)]
            places = [out]
        if merged:
            out.mkdir(parents=True, exist_ok=True)
        written = [
            save_statistics(each, place, overwrite=overwrite)
            for each, place in zip(found, places, strict=True)
        ]
    if as_json:
        print_json({"files": [_facts(each) for each in written]})
        return
    for each in written:
        facts = _facts(each)
        words.print(
            f"{facts['file']}: {facts['kind']} for {facts['weights']:,} weights, from {facts['samples']:,} samples, "
            f"{facts['tokens']:,} tokens",
            soft_wrap=True,
        )


def _check(kind: str, models: Sequence[str], data: Sequence[str], *, merged: bool) -> None:
    if kind not in ("gram", "fisher"):
        raise ValueError(f"--kind must be gram or fisher, but is {kind!r}.")
    if merged and kind == "fisher":
        raise ValueError("--merged measures inputs of layers; it does not go with --kind fisher.")
    if not merged and len(models) > 1:
        raise ValueError(
            f"Models are measured one at a time, but {len(models)} were given. Only --merged takes all at once."
        )
    if len(data) not in (1, len(models)):
        raise ValueError(
            f"Expected --data once, or once for each of {len(models)} models, found {len(data)}."
        )


def _ready(
    checkpoint: Checkpoint, data: str, samples: int, most_tokens: int, device: str
) -> tuple[Any, Iterable[Batch], Names | None]:
    """A model as a module, its data as batches, and what its parameters are called in the file."""
    if Path(data).suffix in (".txt", ".jsonl"):
        texts = read_texts(data)
        model = load(checkpoint, dtype="float32", device=device)
        batches = text_batches(texts, model.tokens, samples=samples, most_tokens=most_tokens)
        return model.module, batches, model.name_on_disk
    import torch

    arrays = read_arrays(data)
    inputs = torch.from_numpy(arrays.inputs[:samples])
    module, names = perceptron_module(checkpoint, arrays.features)
    return module.to(device), inputs.split(_ROWS), names.__getitem__


def _facts(found: Statistics) -> dict[str, Any]:
    return {
        "file": found.source,
        "kind": found.kind,
        "weights": len(found.tensors) + len(found.tensors.tied),
        "samples": found.samples,
        "tokens": found.tokens,
    }
