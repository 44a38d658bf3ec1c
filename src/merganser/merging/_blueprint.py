"""What a merge by rule does, as a value: which method with which parameters, on which blocks of which models.

| object | what |
| --- | --- |
| [`Blueprint`][] | the merge |
| [`Module`][] | one stack of blocks of the result, such as an encoder, and what belongs to it; most models have one |
| [`Slice`][] | consecutive blocks of the result, made of equally many blocks of each source |
| [`Source`][] | a model's blocks |

Models are numbers here: places in the list of models that the blueprint is carried out on. Parameters may be set for
the whole merge, a module, a slice, or a source; the narrowest setting that has a value for a tensor counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from merganser.merging._settings import Setting, Settings
from merganser.merging.vocabulary._rules import VocabularyRules

Dialect = Literal["merganser", "mergekit"]
"""Whose names for methods and parameters, and whose defaults."""

Space = Literal["full", "core"]
"""Where adapters are merged: as whole tensors on their base, or in the directions that they use (`_core_space`)."""

Formulas = Literal["papers", "mergekit"]
"""Whose formulas methods follow where they differ; mergekit's go with its names."""


@dataclass(frozen=True)
class Source:
    """Blocks of a model.

    Args:
        model: The model.
        blocks: First block, and one past the last; None for all.
        settings: Parameters that have a value for each model.
    """

    model: int
    blocks: tuple[int, int] | None = None
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """Consecutive blocks of the result.

    Args:
        sources: What they are made of; a base that is not among them takes part with all its blocks.
        base: The base for these blocks; None for the blueprint's.
        settings: Parameters.
    """

    sources: tuple[Source, ...]
    base: int | None = None
    settings: Settings = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("A slice needs sources, but has none.")


@dataclass(frozen=True)
class Module:
    """A stack of blocks.

    Args:
        slices: Its blocks, in order.
        name: Part of the names of its tensors, such as ``"encoder"``; None for everything in the model.
        settings: Parameters.
    """

    slices: tuple[Slice, ...]
    name: str | None = None
    settings: Settings = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.slices:
            raise ValueError("A module needs slices, but has none.")


@dataclass(frozen=True)
class Blueprint:
    """A merge by rule.

    Args:
        method: The method's name.
        modules: The stacks of the result.
        settings: Parameters.
        base: The model that the others were tuned from, if the method works on differences.
        donor: The model whose configuration, tokenizer and element types the result has.
        dtype: Element type of all merged tensors; None for the donor's, tensor by tensor.
        seed: Key of random numbers.
        dialect: Whose names and defaults methods and parameters have.
        formulas: Whose formulas methods follow.
        vocabulary: Whose tokens the result has; None where all models have the same.
        chat_template: What to lay conversations out by, as `chat_template` takes it; None for the donor's.
        space: Where adapters are merged.
        rank: Most directions that the merged change of a tensor has; None for all. Only in core space.
        as_adapter: Whether the result is an adapter instead of a whole model. Only in core space.
    """

    method: str
    modules: tuple[Module, ...]
    settings: Settings = field(default_factory=dict)
    base: int | None = None
    donor: int = 0
    dtype: str | None = None
    seed: int = 0
    dialect: Dialect = "merganser"
    formulas: Formulas = "papers"
    vocabulary: VocabularyRules | None = None
    chat_template: str | None = None
    space: Space = "full"
    rank: int | None = None
    as_adapter: bool = False

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"`rank` must be at least 1, but is {self.rank}.")
        if self.space == "full" and (self.as_adapter or self.rank is not None):
            raise ValueError(
                "An adapter, or a change of a chosen rank, is made in core space: `space` must be core."
            )
        if self.formulas == "mergekit" and self.dialect != "mergekit":
            raise ValueError("mergekit's formulas go with its names: the dialect must be mergekit too.")
        if not self.modules:
            raise ValueError("A merge needs modules, but has none.")

    @classmethod
    def plain(
        cls,
        method: str,
        models: Sequence[int],
        parameters: Mapping[str, Any] | None = None,
        **other: Any,
    ) -> Blueprint:
        """A merge of whole models.

        Args:
            method: The method's name.
            models: The models beside the base.
            parameters: Parameters; a sequence has one value for each model.
            **other: Base, donor, dtype, seed, dialect, formulas.
        """
        shared: dict[str, Setting] = {}
        each: list[dict[str, Setting]] = [{} for _ in models]
        for name, value in (parameters or {}).items():
            if isinstance(value, str) or not isinstance(value, Sequence):
                shared[name] = Setting.of(value)
                continue
            if len(set(value)) == 1:
                shared[name] = Setting.of(value[0])
                continue
            for settings, one in zip(each, value, strict=True):
                settings[name] = Setting.of(one)
        sources = tuple(Source(model, None, settings) for model, settings in zip(models, each, strict=True))
        return cls(method, (Module((Slice(sources),)),), shared, **other)

    @property
    def is_whole(self) -> bool:
        """Whether it merges whole models, all their stacks alike."""
        return len(self.slices) == 1 and all(source.blocks is None for source in self.slices[0].sources)

    @property
    def slices(self) -> tuple[Slice, ...]:
        """The slices of all modules."""
        return tuple(slice_ for module in self.modules for slice_ in module.slices)

    @property
    def models(self) -> tuple[int, ...]:
        """All models that it speaks of."""
        bases = [self.base, *(slice_.base for slice_ in self.slices)]
        sources = [source.model for slice_ in self.slices for source in slice_.sources]
        return tuple(sorted({number for number in (self.donor, *bases, *sources) if number is not None}))

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "method": self.method,
            "dialect": self.dialect,
            "formulas": self.formulas,
            "base": self.base,
            "donor": self.donor,
            "dtype": self.dtype,
            "seed": self.seed,
            **({} if self.vocabulary is None else {"vocabulary": self.vocabulary.to_json()}),
            **({} if self.chat_template is None else {"chat_template": self.chat_template}),
            **({} if self.space == "full" else {"space": self.space}),
            **({} if self.rank is None else {"rank": self.rank}),
            **({"as_adapter": True} if self.as_adapter else {}),
            **_settings_to_json(self.settings),
            "modules": [_module_to_json(module) for module in self.modules],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Blueprint:
        """Read the plain form.

        Raises:
            KeyError: If something is missing.
            ValueError: If something is not what it should be.
        """
        data = {"space": "full", "rank": None, "as_adapter": False, **data}
        for key, kind in _KINDS.items():
            if not isinstance(data[key], kind) or isinstance(data[key], bool) != (kind is bool):
                raise ValueError(f"its `{key}` is {data[key]!r}.")
        for key, words in (("dialect", Dialect), ("formulas", Formulas), ("space", Space)):
            if data[key] not in get_args(words):
                raise ValueError(f"its `{key}` is {data[key]!r}.")
        return cls(
            method=data["method"],
            modules=tuple(map(_module_from_json, data["modules"])),
            settings=_settings_from_json(data),
            base=data["base"],
            donor=data["donor"],
            dtype=data["dtype"],
            seed=data["seed"],
            dialect=data["dialect"],
            formulas=data["formulas"],
            vocabulary=VocabularyRules.from_json(data["vocabulary"]) if "vocabulary" in data else None,
            chat_template=_text(data.get("chat_template")),
            space=data["space"],
            rank=data["rank"],
            as_adapter=data["as_adapter"],
        )


_KINDS: Mapping[str, Any] = {
    "method": str,
    "dialect": str,
    "formulas": str,
    "base": int | None,
    "donor": int,
    "dtype": str | None,
    "seed": int,
    "modules": list,
    "rank": int | None,
    "as_adapter": bool,
}


def _module_to_json(module: Module) -> dict[str, Any]:
    name = {} if module.name is None else {"name": module.name}
    return (
        name
        | _settings_to_json(module.settings)
        | {"slices": [_slice_to_json(each) for each in module.slices]}
    )


def _slice_to_json(slice_: Slice) -> dict[str, Any]:
    base = {} if slice_.base is None else {"base": slice_.base}
    sources = [
        {"model": source.model}
        | ({} if source.blocks is None else {"blocks": list(source.blocks)})
        | _settings_to_json(source.settings)
        for source in slice_.sources
    ]
    return base | _settings_to_json(slice_.settings) | {"sources": sources}


def _module_from_json(data: Mapping[str, Any]) -> Module:
    return Module(
        tuple(map(_slice_from_json, data["slices"])), _text(data.get("name")), _settings_from_json(data)
    )


def _slice_from_json(data: Mapping[str, Any]) -> Slice:
    sources = tuple(
        Source(_index(each["model"]), _blocks(each.get("blocks")), _settings_from_json(each))
        for each in data["sources"]
    )
    base = data.get("base")
    return Slice(sources, None if base is None else _index(base), _settings_from_json(data))


def _text(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise ValueError(f"{value!r} is no text.")  # noqa: TRY004
    return value


def _index(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"it names a model by {value!r}.")
    return value


def _blocks(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    begin, end = map(_index, value)
    return begin, end


def _settings_to_json(settings: Settings) -> dict[str, Any]:
    listed = {name: setting.to_json() for name, setting in settings.items()}
    return {"parameters": listed} if listed else {}


def _settings_from_json(data: Mapping[str, Any]) -> Settings:
    return {name: Setting.from_json(value) for name, value in data.get("parameters", {}).items()}
