"""Texts from files, as batches of tokens for a language model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from merganser._errors import TaskError

if TYPE_CHECKING:
    from torch import Tensor

    from merganser.models._tokens import Tokens

_FIELDS = ("text", "prompt", "question")


def read_texts(path: str | Path) -> Iterator[str]:
    """The texts in a file: all of a ``.txt``; of a ``.jsonl`` the `text`, `prompt` or `question` of every line.

    Raises:
        TaskError: If the file cannot be read, or a line has no text.
    """
    file = Path(path)
    if file.suffix not in (".txt", ".jsonl"):
        raise TaskError(f"Texts must be in a .txt or .jsonl file, but {file} is neither.")
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file} cannot be read as text: {error}") from error
    if file.suffix == ".txt":
        yield content
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            yield _text_of(line, f"line {number} of {file}")


def text_batches(
    texts: Iterable[str], tokens: Tokens, *, samples: int, most_tokens: int, size: int = 8
) -> Iterator[dict[str, Tensor]]:
    """Texts as batches for a language model: token ids and attention mask, padded at the end.

    Args:
        texts: The texts; longer ones are cut into pieces.
        tokens: The model's tokenizer, `LanguageModel.tokens`.
        samples: Most pieces in all.
        most_tokens: Most tokens of a piece.
        size: Pieces of a batch.
    """
    import torch

    left = islice(_pieces(texts, tokens, most_tokens), samples)
    while pieces := list(islice(left, size)):
        longest = max(map(len, pieces))
        ids = torch.zeros(len(pieces), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, piece in enumerate(pieces):
            ids[i, : len(piece)] = torch.tensor(piece)
            mask[i, : len(piece)] = 1
        yield {"input_ids": ids, "attention_mask": mask}


def _pieces(texts: Iterable[str], tokens: Tokens, most_tokens: int) -> Iterator[Sequence[int]]:
    for text in texts:
        ids = tokens.prompt(text)
        for begin in range(0, len(ids), most_tokens):
            yield ids[begin : begin + most_tokens]


def _text_of(line: str, place: str) -> str:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise TaskError(f"Expected one JSON object a line, but {place} is none: {error}.") from error
    found = [record[name] for name in _FIELDS if name in record] if isinstance(record, dict) else []
    if not found or not isinstance(found[0], str):
        raise TaskError(f"Expected a text under {', '.join(map(repr, _FIELDS))}, but {place} has none.")
    return found[0]
