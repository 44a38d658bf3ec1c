"""What models are run on to compare their representations: texts, or arrays for perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32

from merganser._errors import TaskError
from merganser.comparison._relations import FEWEST_ROWS
from merganser.comparison._view import Reduce, View
from merganser.evaluation import Chosen, Classification, TextTask, read_arrays
from merganser.models import read_texts

Data: TypeAlias = Sequence[str] | Float32[np.ndarray, "samples ..."]
"""Texts for language models, or inputs for perceptrons, in a fixed order."""

_LINES, _TEXTS = ".txt", (".txt", ".jsonl")
_ROWS_OF_A_TEXT: dict[Reduce, int] = {"mean": 1, "last": 1, "sampled": 4, "all": 16}
"""About how many, to choose how many rows a batch has."""
_BATCHES, _FEWEST, _MOST, _NEIGHBOURS = 10, 16, 128, 10


def read_data(reference: str, *, limit: int | None = None) -> Data:
    """Read what models are to be run on.

    Args:
        reference: A ``.txt``, every line of which is a text; a ``.jsonl`` with a `text`, `prompt` or `question` in
            every line; or arrays as [`read_arrays`][] takes them.
        limit: Take the first so many.

    Raises:
        TaskError: If it cannot be read, or there are fewer than 8 texts or arrays.
    """
    suffix = Path(reference).suffix
    if suffix not in _TEXTS:
        return _enough(read_arrays(reference).inputs[:limit], reference)
    texts = list(read_texts(reference))
    if suffix == _LINES:
        texts = [line for text in texts for line in text.splitlines() if line.strip()]
    return _enough(texts[:limit], reference)


def data_of(chosen: Chosen) -> Data | None:
    """What the samples of a task consist of: questions as they stand in the file, or arrays.

    Args:
        chosen: The samples.

    Returns:
        None if the task has neither, or fewer than 8.
    """
    texts, arrays = [], []
    for task, ids in chosen.parts:
        if isinstance(task, TextTask):
            texts += [task.questions[i].text for i in ids]
        elif isinstance(task, Classification):
            arrays.append(task.inputs[ids])
    if arrays and not texts and len({each.shape[1:] for each in arrays}) == 1:
        inputs = np.concatenate(arrays)
        return inputs if len(inputs) >= FEWEST_ROWS else None
    return texts if len(texts) >= FEWEST_ROWS else None


def view_for(
    data: Data, *, reduce: Reduce = "mean", rows: int | None = None, layers: Sequence[str] = ()
) -> View:
    """A view that suits the data: ten batches if there are enough for it, and neighbours in each.

    Args:
        data: The data.
        reduce: What becomes of a text's tokens.
        rows: Rows of a batch; by default a tenth of all, but from 16 to 128.
        layers: Names of submodules; empty for all blocks, or all layers of a perceptron.

    Raises:
        ValueError: If a number or name is out of range.
    """
    if rows is None:
        rows = len(data) * _ROWS_OF_A_TEXT.get(reduce, 1) // _BATCHES
        rows = min(max(rows, _FEWEST), _MOST)
    neighbours = max(1, min(_NEIGHBOURS, rows // 4))
    return View(layers=tuple(layers) or None, reduce=reduce, rows=rows, neighbours=neighbours)


def _enough(data: Data, reference: str) -> Data:
    if len(data) < FEWEST_ROWS:
        raise TaskError(
            f"Expected at least {FEWEST_ROWS} texts or arrays to compare models on, but {reference} has {len(data)}. "
            "Give more; a few hundred say something."
        )
    return data
