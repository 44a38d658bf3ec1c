"""Which matrices of a checkpoint are adapted: by what they do, where they are, and what their modules are called."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from merganser.comparison import COMPONENTS, component_of
from merganser.weights import Checkpoint, Layer


def choose_matrices(
    checkpoint: Checkpoint,
    *,
    components: Collection[str] = ("mlp",),
    modules: Collection[str] = (),
    layers: Collection[int] | None = None,
) -> tuple[str, ...]:
    """Names of the matrices in a model's blocks that belong to a component or to a module of a given name.

    The default is what the authors' code adapts; their best table row adds ``modules=("q_proj", "v_proj")``.

    Args:
        checkpoint: The model.
        components: What matrices do: ``"mlp"``, ``"attention"``, ``"other"``.
        modules: Last names of modules whose matrices are taken besides.
        layers: Numbers of blocks, from 0; None for all.

    Raises:
        ValueError: If a component is unknown, a number has no block, or nothing is left.

    Examples:
        >>> import numpy as np
        >>> names = [f"layers.{i}.{part}.weight" for i in range(2) for part in ("q_proj", "k_proj", "up_proj")]
        >>> model = Checkpoint.from_tensors({name: np.ones((2, 3), "float32") for name in names})
        >>> choose_matrices(model, modules=["q_proj"], layers=[1])
        ('layers.1.q_proj.weight', 'layers.1.up_proj.weight')
    """
    if unknown := [name for name in components if name not in COMPONENTS]:
        raise ValueError(f"Expected components among {', '.join(COMPONENTS)}, found {unknown[0]!r}.")
    blocks = [layer for layer in checkpoint.layers if layer.kind == "block"]
    wanted = range(len(blocks)) if layers is None else sorted(set(layers))
    if beyond := [number for number in wanted if number not in range(len(blocks))]:
        raise ValueError(
            f"{checkpoint.source} has {len(blocks)} blocks, numbered from 0, but no {beyond[0]}."
        )
    chosen = tuple(
        name
        for number in wanted
        for name in _matrices(checkpoint, blocks[number])
        if component_of(name, blocks[number]) in components or name.split(".")[-2] in modules
    )
    if not chosen:
        raise ValueError(
            f"{checkpoint.source} has no matrix in its blocks that belongs to {' or '.join((*components, *modules))}. "
            "Choose other `components` or `modules`, or name the matrices themselves."
        )
    return chosen


def _matrices(checkpoint: Checkpoint, block: Layer) -> Iterator[str]:
    """Floating tensors of a block that are weights of two axes."""
    for name in block.tensors:
        spec = checkpoint.spec(name)
        if spec.is_floating and len(spec.shape) == 2 and min(spec.shape) > 1 and name.endswith(".weight"):
            yield name
