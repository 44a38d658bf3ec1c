"""Texts to tokens and back, as the language model's own tokenizer has it.

| what | rule |
| --- | --- |
| a prompt | the tokenizer's start token goes before it, unless the text begins with it (chat templates write it) |
| context and text | tokenised together; blanks at the end of the context belong to the text |
| an answer | grows token by token; a character or blank that needs the tokens before it is read together with them |

The second rule is lm-evaluation-harness's, so that log-likelihoods can be compared.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from merganser._errors import CheckpointError
from merganser.merging import MergePlan, write_companions
from merganser.weights import Checkpoint

_Asked = TypeVar("_Asked", bound=Hashable)
_Made = TypeVar("_Made")

_BROKEN = "\ufffd"
"""What a tokenizer writes for bytes that are no whole character yet."""

_KEPT = 1 << 20
"""Tokens that are kept of texts seen before."""

_LOOKBACK = 8
"""Tokens of a prompt that are read with the first of the answer."""


class Tokens:
    """A tokenizer, and the tokens that begin and end a text.

    Args:
        tokenizer: Of transformers.
        start: The token that begins a text, if the model has one; else the one that ends it.
        ends: Tokens that end an answer.
    """

    def __init__(self, tokenizer: Any, start: int | None, ends: frozenset[int]) -> None:
        self._tokenizer, self.start, self.ends = tokenizer, start, ends
        self._prompts = _Kept(self._encoded, len)
        self._splits = _Kept(self._divided, lambda pair: len(pair[0]) + len(pair[1]))

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any]) -> Tokens:
        """The tokenizer of a folder, with what its ``generation_config.json`` and a configuration say of ends.

        Raises:
            CheckpointError: If there is none, or it is damaged.
        """
        from merganser.models._build import import_transformers

        try:
            tokenizer = import_transformers().AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True
            )
        except Exception as error:  # whatever the tokenizer's own code finds wrong
            raise CheckpointError(
                f"transformers finds no tokenizer it can read in {folder}: {error}. Copy `tokenizer.json` and "
                "`tokenizer_config.json` there from the model's origin."
            ) from error
        generation = folder / "generation_config.json"
        try:
            said = json.loads(generation.read_bytes()) if generation.is_file() else {}
        except ValueError as error:
            raise CheckpointError(f"{generation} is no JSON: {error}.") from error
        text = config.get("text_config") or {}
        named = [part.get("eos_token_id") for part in (said, config, text)] + [tokenizer.eos_token_id]
        ends = [token for each in named for token in (each if isinstance(each, list) else [each])]
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        return cls(tokenizer, start, frozenset(token for token in ends if token is not None))

    @property
    def tokenizer(self) -> Any:
        """The tokenizer itself, of transformers."""
        return self._tokenizer

    def prompt(self, text: str) -> list[int]:
        """A text as the model is to see it."""
        return list(self.prompts([text])[0])

    def prompts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Texts as the model is to see them."""
        return self._prompts.of(texts)

    def split(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Tokens of contexts, and of the text after each; a context of blanks is none.

        Raises:
            ValueError: If there is no context, and the model has no token that begins a text.
        """
        return self._splits.of(pairs)

    def _encoded(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        encoded = self._tokenizer(list(texts))["input_ids"] if texts else []
        return [self._mended(text, tuple(tokens)) for text, tokens in zip(texts, encoded, strict=True)]

    def _mended(self, text: str, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """A text begins once, and does not end."""
        if len(tokens) > 1 and tokens[0] == tokens[1] == self._tokenizer.bos_token_id:
            tokens = tokens[1:]
        end = self._tokenizer.eos_token_id
        if tokens and tokens[-1] == end and not text.endswith(str(self._tokenizer.eos_token)):
            tokens = tokens[:-1]  # some tokenizers end every text
        return tokens or (() if self.start is None else (self.start,))

    def _divided(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        bare = [context.rstrip() for context, _ in pairs]
        wholes = [context + text for context, text in pairs]
        texts = list(dict.fromkeys(filter(None, bare))) + [
            w for w, context in zip(wholes, bare, strict=True) if context
        ]
        known = dict(zip(texts, self._encoded(texts), strict=True))
        return [
            (known[context], known[whole][len(known[context]) :]) if context else self._bare(whole)
            for context, whole in zip(bare, wholes, strict=True)
        ]

    def _bare(self, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """A text without a context."""
        if self.start is None:
            raise ValueError(
                "A text without a context needs a token that begins it, and the tokenizer has none."
            )
        tokens = tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return ((), tokens) if tokens[:1] == (self.start,) else ((self.start,), tokens)

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text, without the special ones."""
        return self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages as one prompt.

        Raises:
            ValueError: If there is no chat template, or it does not take these messages.
        """
        if not self._tokenizer.chat_template:
            raise ValueError(
                "The model has no chat template. Give the prompt as plain text, or a template when merging "
                "(`--chat-template chatml`)."
            )
        try:
            return self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # a template is a program
            raise ValueError(f"The model's chat template does not take these messages: {error}") from error


class _Kept(Generic[_Asked, _Made]):
    """What was made of texts, the first of them at least: a search asks the same of every child.

    Args:
        make: Makes it, of many at a time.
        size: How many tokens it holds.
    """

    def __init__(self, make: Callable[[Sequence[_Asked]], list[_Made]], size: Callable[[_Made], int]) -> None:
        self._make, self._size = make, size
        self._known: dict[_Asked, _Made] = {}
        self._room = _KEPT

    def of(self, asked: Sequence[_Asked]) -> list[_Made]:
        """What is made of these, each once."""
        new = [each for each in dict.fromkeys(asked) if each not in self._known]
        made = dict(zip(new, self._make(new) if new else [], strict=True))
        for each, found in made.items():
            if self._room > 0:
                self._known[each] = found
                self._room -= self._size(found) + 1
        return [made[each] if each in made else self._known[each] for each in asked]


class Answer:
    """The text of an answer while it grows.

    Args:
        tokens: The tokenizer.
        prompt: Tokens before the answer.
        stop: Strings that end it.
    """

    def __init__(self, tokens: Tokens, prompt: Sequence[int], stop: Sequence[str] = ()) -> None:
        self._tokens, self._stop = tokens, tuple(filter(None, stop))
        self._window = list(prompt[-_LOOKBACK:])
        self._before = tokens.text(self._window)
        self._known = len(self._window)
        self._text, self.count = "", 0

    def add(self, token: int) -> bool:
        """Take one more token; gives whether a stop string is complete."""
        self.count += 1
        self._window.append(token)
        read = self._tokens.text(self._window)
        if read.endswith(_BROKEN) or len(read) <= len(self._before):
            return self._find_stop(read[len(self._before) :])
        self._text += read[len(self._before) :]
        self._window = self._window[self._known :]
        self._known = len(self._window)
        self._before = self._tokens.text(self._window)
        return self._find_stop("")

    @property
    def text(self) -> str:
        """What there is so far, up to the first stop string."""
        whole = self._text + self._tokens.text(self._window)[len(self._before) :]
        found = [at for at in map(whole.find, self._stop) if at >= 0]
        return whole[: min(found)] if found else whole

    def _find_stop(self, more: str) -> bool:
        return any(stop in self._text + more for stop in self._stop)


def tokens_of(model: Checkpoint | MergePlan, config: Mapping[str, Any]) -> Tokens:
    """The tokenizer of a checkpoint, or of what a plan makes.

    Raises:
        CheckpointError: If there is none.
    """
    if isinstance(model, MergePlan):
        with tempfile.TemporaryDirectory() as folder:
            write_companions(model, Path(folder))
            return Tokens.read(Path(folder), config)
    if model.home is None:
        raise CheckpointError(
            f"{model.source} has no tokenizer: expected a folder with `tokenizer.json` beside the tensors. Open the "
            "model's folder, or save the model beside a copy of its tokenizer."
        )
    return Tokens.read(model.home, config)
