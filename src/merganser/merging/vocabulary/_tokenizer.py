"""A model's tokenizer as files: read from its folder, written for the result.

| file | what it is needed for |
| --- | --- |
| ``tokenizer.json`` | the tokens; where it is missing, transformers makes it of slower forms |
| ``tokenizer_config.json``, ``special_tokens_map.json`` | which tokens are special, perhaps more tokens |
| the others | copied where the result is this tokenizer unchanged; else left out, as they would contradict |
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from merganser._errors import CheckpointError, ConfigError
from merganser.merging.vocabulary._tokenizer_json import (
    Content,
    MalformedTokenizerError,
    added_entry,
    added_tokens,
    check,
    flags_of,
    token_ids,
    with_ids,
    without,
)
from merganser.weights import Checkpoint, atomic_write_bytes, atomic_write_text

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "added_tokens.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
"""Files beside the weights that say how text becomes tokens."""

_EDITED = TOKENIZER_FILES[:3]
_TEMPLATES = TOKENIZER_FILES[3:5]
_SLOW = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt")

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FURTHER = ("additional_special_tokens", "extra_special_tokens")


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer, as its files say.

    Args:
        folder: Where they lie.
        content: ``tokenizer.json``, with the tokens that only the settings name.
        settings: ``tokenizer_config.json``; empty if there is none.
        special: ``special_tokens_map.json``; empty if there is none.
    """

    folder: Path
    content: Content
    settings: Mapping[str, Any]
    special: Mapping[str, Any]

    @cached_property
    def ids(self) -> dict[str, int]:
        """Number of every token; an added token before others of the same number."""
        return token_ids(self.content)

    @cached_property
    def added(self) -> dict[str, dict[str, Any]]:
        """The added tokens, each with its flags."""
        return added_tokens(self.content)

    def named(self, role: str) -> int | None:
        """Number of the token that has a role such as ``"eos_token"``; None if none has."""
        stated = self.settings.get(role) or self.special.get(role)
        return None if stated is None else self.ids.get(_text(stated))

    def without(self, tokens: set[str], unnamed: set[str]) -> Tokenizer:
        """The same without some tokens.

        Args:
            tokens: Those that go.
            unnamed: Those of them that no setting may name any more: they do not come back.
        """
        return Tokenizer(
            self.folder,
            without(self.content, tokens),
            _not_naming(self.settings, unnamed),
            _not_naming(self.special, unnamed),
        )

    def with_ids(self, entries: list[dict[str, Any]], ids: Mapping[str, int]) -> Tokenizer:
        """The same with further added tokens, every token with the number asked for.

        Raises:
            CheckpointError: If it cannot be written with these numbers.
        """
        try:
            content = with_ids(self.content, entries, ids)
        except MalformedTokenizerError as error:
            raise CheckpointError(f"The tokenizer in {self.folder} cannot be changed: {error}.") from error
        settings = copy.deepcopy(dict(self.settings))
        if "added_tokens_decoder" in settings:
            settings["added_tokens_decoder"] = {
                str(entry["id"]): {key: value for key, value in entry.items() if key != "id"}
                for entry in content["added_tokens"]
            }
        return Tokenizer(self.folder, content, settings, self.special)

    def verify(self, size: int) -> bool:
        """Load it with the library that will use it; False if that is not installed.

        Args:
            size: Rows of the model it is for.

        Raises:
            CheckpointError: If it does not load, or gives other numbers than it should.
        """
        try:
            from tokenizers import Tokenizer as Loaded
        except ImportError:
            return False
        try:
            loaded = Loaded.from_str(json.dumps(self.content))
        except Exception as error:  # the library has no class of its own
            raise CheckpointError(
                f"The tokenizer in {self.folder} was changed, and does not load any more: {error}."
            ) from error
        if loaded.get_vocab() != self.ids:
            raise CheckpointError(
                f"The tokenizer in {self.folder} was changed, and the library numbers its tokens otherwise than "
                "they should be. Choose the tokenizer of another model as the source."
            )
        framing = loaded.encode("").ids
        if max(framing, default=0) >= size:
            raise CheckpointError(
                f"The tokenizer in {self.folder} puts {framing} around every text, but the result has {size} rows. "
                "Was it made for another model? Choose the tokenizer of another model as the source."
            )
        return True

    def write(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and what belongs to it into a folder.

        Raises:
            OutputError: If it cannot be written.
        """
        for name, data in zip(_EDITED, (self.content, self.settings, self.special), strict=True):
            if data:
                atomic_write_text(folder / name, json.dumps(data, ensure_ascii=False, indent=2) + "\n")
        self._copy(_TEMPLATES, folder)

    def copy(self, folder: Path) -> None:
        """Write the files as they are, byte for byte.

        Raises:
            CheckpointError: If one cannot be read.
            OutputError: If one cannot be written.
        """
        self._copy(TOKENIZER_FILES, folder)

    def _copy(self, names: tuple[str, ...], folder: Path) -> None:
        for file in (self.folder / name for name in names):
            if not file.is_file():
                continue
            try:
                content = file.read_bytes()
            except OSError as error:
                raise CheckpointError(f"{file} cannot be read: {error.strerror or error}.") from error
            atomic_write_bytes(folder / file.name, content)


def tokenizer_of(checkpoint: Checkpoint) -> Tokenizer:
    """Read the tokenizer of a model.

    Raises:
        CheckpointError: If there is none, or it is damaged.
        ConfigError: If it has to be converted and transformers is not installed.
    """
    folder = checkpoint.home
    if folder is None:
        raise CheckpointError(
            f"{checkpoint.source} has no folder with a tokenizer beside its weights, but its vocabulary is to be "
            "matched by tokens. Open the folder that holds its `tokenizer.json`."
        )
    if (folder / "tokenizer.json").is_file():
        content = read_json(folder / "tokenizer.json")
        settings, special = (read_json(folder / name) for name in _EDITED[1:])
    elif any((folder / name).is_file() for name in _SLOW):
        content, settings, special = _converted(folder)
    else:
        raise CheckpointError(
            f"{folder} holds no tokenizer: expected `tokenizer.json`, or one of {', '.join(_SLOW)}. Copy it there "
            "from the model's origin."
        )
    try:
        check(content)
        completed = _completed(content, settings, special)
    except MalformedTokenizerError as error:
        raise CheckpointError(f"The tokenizer in {folder} is damaged: {error}.") from error
    return Tokenizer(folder, completed, settings, special)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold a JSON object, but holds a {type(found).__name__}.")
    return found


def _converted(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What transformers makes of a sentencepiece model or of slow files."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ConfigError(
            f"{folder} has no `tokenizer.json`, and transformers, which makes one of the files that are there, is "
            "not installed: pip install 'merganser[transformers]'."
        ) from error
    with tempfile.TemporaryDirectory() as made:
        try:
            AutoTokenizer.from_pretrained(str(folder), local_files_only=True).save_pretrained(made)
        except Exception as error:  # whatever the tokenizer's own code finds wrong
            raise CheckpointError(
                f"{folder} has no `tokenizer.json`, and transformers cannot make one of the files that are there: "
                f"{error}"
            ) from error
        content, settings, special = (read_json(Path(made) / name) for name in _EDITED)
    if not content:
        raise CheckpointError(
            f"{folder} has no `tokenizer.json`, and its tokenizer has no such form. Merge without changing the "
            "vocabulary."
        )
    return content, settings, special


def _completed(content: Content, settings: Mapping[str, Any], special: Mapping[str, Any]) -> Content:
    """With the tokens that only the settings name: transformers adds them, behind the others, when it loads."""
    ids, listed = token_ids(content), _listed(settings)
    named = [_text(token) for part in (settings, special) for token in _special_tokens(part)]
    missing = dict.fromkeys(token for token in (*listed, *named) if token and token not in ids)
    if not missing:
        return content
    entries = [added_entry(token, **listed.get(token, {"special": True})) for token in missing]
    longer = {**content, "added_tokens": [*added_tokens(content).values(), *entries]}
    return with_ids(content, entries, token_ids(longer))


def _listed(settings: Mapping[str, Any]) -> dict[str, dict[str, bool]]:
    """Flags of the added tokens that settings list, in the order of their numbers."""
    stated = settings.get("added_tokens_decoder") or {}
    try:
        entries = [entry for _, entry in sorted(stated.items(), key=lambda item: int(item[0]))]
        return {entry["content"]: flags_of(entry) for entry in entries}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MalformedTokenizerError(
            f"expected `added_tokens_decoder` to map numbers to tokens, found {str(stated)[:80]}"
        ) from error


def _special_tokens(settings: Mapping[str, Any]) -> Iterator[Any]:
    """The tokens that settings name as special."""
    yield from (settings[role] for role in _NAMED if settings.get(role))
    for key in _FURTHER:
        further = settings.get(key) or ()
        yield from further.values() if isinstance(further, Mapping) else further


def _text(token: Any) -> str:
    """The text of a token that settings give as such, or with its flags."""
    return str(token.get("content", "") if isinstance(token, Mapping) else token)


def _not_naming(settings: Mapping[str, Any], tokens: set[str]) -> dict[str, Any]:
    """Settings that do not name some tokens, which transformers would otherwise add again."""
    found = copy.deepcopy(dict(settings))
    for role in _NAMED:
        if found.get(role) and _text(found[role]) in tokens:
            del found[role]
    for key in _FURTHER:
        further = found.get(key)
        if isinstance(further, dict):
            found[key] = {name: token for name, token in further.items() if _text(token) not in tokens}
        elif further:
            found[key] = [token for token in further if _text(token) not in tokens]
    return found
