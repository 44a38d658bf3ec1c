"""mergekit's YAML, read: one document becomes a blueprint, in mergekit's own terms.

Everything that can be wrong without a look at the models is found here, with its line: unknown keys and parameters,
values of the wrong kind or out of range, a missing base, slices that do not fit. What mergekit ignores without a word
is either an error (a key that nothing knows) or a note (a parameter that only other methods have).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merganser._text_file import read_text
from merganser.interop.mergekit._yaml import Node, read_documents
from merganser.merging import Blueprint, Case, Module, Setting, Settings, Slice, Source
from merganser.merging.methods import Parameter
from merganser.merging.methods.mergekit import SIGNATURES, Signature
from merganser.merging.vocabulary import (
    ModelRow,
    RowOf,
    RowSource,
    TokenRule,
    VocabularyRules,
    ZeroRow,
    chat_template,
)
from merganser.weights import DTYPES

_KEYS = (
    "merge_method",
    "models",
    "slices",
    "modules",
    "base_model",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
    "name",
)
_MODEL = ("model", "lora", "override_architecture")
_LEGACY = ("embed_slerp",)
"""Parameters of earlier versions, which published files still hold; mergekit ignores them."""

_FORMS = ("models", "slices", "modules")
_TYPES = [row.library for row in DTYPES.values() if row.is_floating]


@dataclass(frozen=True)
class MergekitConfig:
    """One document of a file.

    Args:
        blueprint: The merge, in mergekit's terms.
        models: The models that the blueprint numbers, as references.
        name: What other documents of the file call its result.
        notes: What was read but has no effect.
        document: Where it stands in the file.
        nodes: Where its sources stand in the file, by their identity.
    """

    blueprint: Blueprint
    models: tuple[str, ...]
    name: str | None
    notes: tuple[str, ...]
    document: Node = field(repr=False)
    nodes: Mapping[int, Node] = field(repr=False)


def read_mergekit(path: Path | str) -> tuple[MergekitConfig, ...]:
    """Read a file: one document for `mergekit-yaml`, or several for `mergekit-multi`.

    Raises:
        ConfigError: If it cannot be read, or something in it is wrong, with the line.
    """
    return parse_mergekit(read_text(path), str(path))


def parse_mergekit(text: str, source: str = "the configuration") -> tuple[MergekitConfig, ...]:
    """Read the text of such a file.

    Args:
        text: The YAML.
        source: What to call it in messages.

    Raises:
        ConfigError: If something in it is wrong, with the line.

    Examples:
        >>> text = "{merge_method: linear, models: [{model: a}, {model: b}], parameters: {weight: 1}}"
        >>> [config] = parse_mergekit(text)
        >>> config.models, config.blueprint.method
        (('a', 'b'), 'linear')
    """
    return tuple(_Reader(node).read() for node in read_documents(text, source))


class _Reader:
    """Reads one document."""

    def __init__(self, document: Node) -> None:
        self._entries = document.entries(_KEYS)
        self._document = document
        self._models: dict[str, int] = {}
        self._notes: list[str] = []
        self._nodes: dict[int, Node] = {}
        self._method, self._signature = self._read_method()

    def read(self) -> MergekitConfig:
        entries = self._entries
        base = entries.get("base_model")
        base_number = None if base is None else self._model(base)
        settings = self._settings(entries.get("parameters"))
        modules = self._modules(base_number, settings)
        blueprint = Blueprint(
            self._method,
            modules,
            settings,
            base=base_number,
            donor=0 if base_number is None else base_number,
            dtype=self._type("out_dtype") or self._type("dtype"),
            dialect="mergekit",
            vocabulary=self._vocabulary(),
            chat_template=self._template(),
        )
        return MergekitConfig(
            blueprint,
            tuple(self._models),
            self._text("name"),
            tuple(dict.fromkeys(self._notes)),
            self._document,
            self._nodes,
        )

    def _read_method(self) -> tuple[str, Signature]:
        if "merge_method" not in self._entries:
            self._document.fail("there is no `merge_method`. Say which method to merge by.")
        node = self._entries["merge_method"]
        name = node.text()
        if name not in SIGNATURES:
            close = difflib.get_close_matches(name, SIGNATURES, n=1)
            hint = f"Did you mean `{close[0]}`?" if close else f"Known are {', '.join(SIGNATURES)}."
            node.fail(f"is no merge method: {name!r}. {hint}")
        return name, SIGNATURES[name]

    def _modules(self, base: int | None, settings: Settings) -> tuple[Module, ...]:
        given = [form for form in _FORMS if form in self._entries]
        if len(given) != 1:
            found = " and ".join(f"`{form}`" for form in given) or "none"
            self._document.fail(f"needs exactly one of `models`, `slices` and `modules`, but has {found}.")
        node = self._entries[given[0]]
        if given[0] != "modules":
            return (Module(self._slices(node, given[0], base, (settings,))),)
        modules: list[Module] = []
        for name, entry in node.entries().items():
            inner = entry.entries(("models", "slices", "parameters"))
            forms = [form for form in ("models", "slices") if form in inner]
            if len(forms) != 1:
                entry.fail("needs exactly one of `models` and `slices`.")
            own = self._settings(inner.get("parameters"))
            slices = self._slices(inner[forms[0]], forms[0], base, (own, settings))
            modules.append(Module(slices, name, own))
        if not modules:
            node.fail("is empty. Name at least one module.")
        return tuple(modules)

    def _slices(
        self, node: Node, form: str, base: int | None, levels: Sequence[Settings]
    ) -> tuple[Slice, ...]:
        items = node.items()
        if not items:
            node.fail("is empty. Name at least one.")
        if form == "slices":
            return tuple(self._slice(item, base, levels) for item in items)
        self._check_base(base)
        sources = [self._source(item, ("model", "parameters")) for item in items]
        if self._signature.base == "input" and base is not None and all(s.model != base for s in sources):
            sources.append(Source(base))
        self._check_sources(node, sources, base, levels)
        return (Slice(tuple(sources)),)

    def _slice(self, node: Node, base: int | None, levels: Sequence[Settings]) -> Slice:
        entries = node.entries(("sources", "base_model", "residual_weight", "parameters"))
        if "sources" not in entries:
            node.fail("has no `sources`. Say which blocks of which models it is made of.")
        if "residual_weight" in entries:
            self._notes.append(f"line {entries['residual_weight'].line}: `residual_weight` has no effect")
        own = self._settings(entries.get("parameters"))
        own_base = self._model(entries["base_model"]) if "base_model" in entries else None
        items = entries["sources"].items()
        if not items:
            entries["sources"].fail("is empty. Name at least one model.")
        sources = [self._source(item, ("model", "layer_range", "parameters")) for item in items]
        lengths = [source.blocks[1] - source.blocks[0] for source in sources if source.blocks is not None]
        if len(set(lengths)) > 1:
            listed = ", ".join(map(str, lengths))
            node.fail(f"takes {listed} blocks of its sources. All must give equally many.")
        used = base if own_base is None else own_base
        self._check_base(used)
        if self._signature.base == "required" and all(source.model != used for source in sources):
            name = next(name for name, number in self._models.items() if number == used)
            entries["sources"].fail(f"do not hold the base {name}. List it with its `layer_range`.")
        self._check_sources(entries["sources"], sources, used, (own, *levels))
        return Slice(tuple(sources), own_base, own)

    def _source(self, node: Node, keys: Sequence[str]) -> Source:
        entries = node.entries(keys)
        if "model" not in entries:
            node.fail("names no `model`.")
        if "layer_range" in keys and "layer_range" not in entries:
            node.fail("has no `layer_range`. Say which blocks to take: [first, one past the last].")
        blocks = self._blocks(entries["layer_range"]) if "layer_range" in entries else None
        settings = self._settings(entries.get("parameters"), of_model=True)
        source = Source(self._model(entries["model"]), blocks, settings)
        self._nodes[id(source)] = entries.get("layer_range", node)
        return source

    def _blocks(self, node: Node) -> tuple[int, int]:
        items = node.items()
        if len(items) != 2:
            node.fail(f"must be two numbers, [first, one past the last], but has {len(items)}.")
        first, last = (item.whole() for item in items)
        if not 0 <= first < last:
            node.fail(f"must be [first, one past the last] with 0 <= first < last, but is [{first}, {last}].")
        return first, last

    def _check_base(self, base: int | None) -> None:
        if self._signature.base == "required" and base is None:
            self._entries["merge_method"].fail(
                f"is `{self._method}`, which works from a base model, but there is no `base_model`. Name the model "
                "that the others were tuned from."
            )

    def _check_sources(
        self, node: Node, sources: Sequence[Source], base: int | None, levels: Sequence[Settings]
    ) -> None:
        for i, source in enumerate(sources):
            if any(source.model == earlier.model for earlier in sources[:i]):
                name = list(self._models)[source.model]
                self._nodes[id(source)].fail(f"takes {name} a second time. Merge a model with others only.")
        is_input = self._signature.base == "input"
        others = [source for source in sources if is_input or source.model != base]
        least, most = self._signature.models
        if len(others) < least or (most is not None and len(others) > most):
            wanted = (
                f"exactly {least}"
                if least == most
                else f"at least {least}"
                if len(others) < least
                else f"at most {most}"
            )
            beside = "" if is_input else " beside the base"
            node.fail(f"lists {len(others)} models{beside}, but `{self._method}` takes {wanted}.")
        for name, p in self._signature.per_model.items():
            for source in others:
                levels_of = (source.settings, *levels)
                if p.is_required and not any(name in level for level in levels_of):
                    place = self._nodes.get(id(source), node)
                    place.fail(
                        f"sets no `{name}` ({p.help}), and `{self._method}` needs one. Add it to the model's "
                        "`parameters`, or to those of the whole merge."
                    )
        for name, p in self._signature.shared.items():
            if p.is_required and not any(name in level for level in levels):
                self._document.fail(
                    f"sets no `{name}` ({p.help}), which `{self._method}` needs. Add it to `parameters`."
                )

    def _settings(self, node: Node | None, *, of_model: bool = False) -> Settings:
        if node is None:
            return {}
        settings: dict[str, Setting] = {}
        for name, entry in node.entries().items():
            p = self._parameter(name, entry, of_model=of_model)
            if p is not None:
                settings[name] = self._setting(entry, p)
        return settings

    def _parameter(self, name: str, node: Node, *, of_model: bool) -> Parameter | None:
        """What is known of a parameter; None if it has no effect here."""
        shared, per_model = self._signature.shared, self._signature.per_model
        if name in per_model or (name in shared and not of_model):
            return per_model.get(name) or shared[name]
        known = {each for s in SIGNATURES.values() for each in (*s.shared, *s.per_model)}
        if name in shared:
            self._notes.append(
                f"line {node.line}: `{name}` of a single model has no effect; `{self._method}` has one for all models"
            )
        elif name in known or name in _LEGACY:
            self._notes.append(f"line {node.line}: `{name}` has no effect on `{self._method}`")
        else:
            close = difflib.get_close_matches(name, [*shared, *per_model, *sorted(known)], n=1)
            own = ", ".join(f"`{each}`" for each in (*per_model, *shared)) or "no parameters"
            node.fail(
                f"is no parameter of `{self._method}`. "
                + (f"Did you mean `{close[0]}`?" if close else f"It has {own}.")
            )
        return None

    def _setting(self, node: Node, p: Parameter) -> Setting:
        if node.is_mapping:
            return Setting((self._case(node, p),))
        items = node.items() if node.is_list else []
        if items and all(item.is_mapping for item in items):
            return Setting(tuple(self._case(item, p) for item in items))
        return Setting((Case(self._value(node, p)),))

    def _case(self, node: Node, p: Parameter) -> Case:
        entries = node.entries(("value", "filter"))
        if "value" not in entries:
            node.fail("has no `value`.")
        chosen = entries["filter"].text() if "filter" in entries else "*"
        return Case(self._value(entries["value"], p), None if chosen == "*" else chosen)

    def _value(self, node: Node, p: Parameter) -> Any:
        if not node.is_list:
            return _scalar(node, p)
        items = node.items()
        if not items:
            node.fail("is an empty gradient. Give at least one value.")
        return tuple(_scalar(item, p) for item in items)

    def _type(self, key: str) -> str | None:
        if key not in self._entries:
            return None
        node = self._entries[key]
        name = node.text().removeprefix("torch.")
        if name not in _TYPES:
            node.fail(f"must be one of {', '.join(_TYPES)}, but is {name!r}.")
        return name

    def _text(self, key: str) -> str | None:
        return self._entries[key].text() if key in self._entries else None

    def _template(self) -> str | None:
        wanted = self._text("chat_template")
        if wanted not in (None, "auto"):
            self._entries["chat_template"].trying(lambda: chat_template((), wanted))
        return wanted

    def _model(self, node: Node) -> int:
        if node.is_mapping and "override_architecture" in node.entries():
            self._notes.append(f"line {node.line}: `override_architecture` has no effect")
        return self._models.setdefault(_reference(node), len(self._models))

    def _vocabulary(self) -> VocabularyRules | None:
        legacy, block = self._entries.get("tokenizer_source"), self._entries.get("tokenizer")
        if legacy is not None and block is not None:
            block.fail("and `tokenizer_source` say the same. Leave `tokenizer_source` out.")
        if legacy is not None:
            return VocabularyRules(self._token_source(legacy))
        if block is None:
            return None
        entries = block.entries(("source", "tokens", "pad_to_multiple_of"))
        rules = entries["tokens"].entries() if "tokens" in entries else {}
        tokens = tuple(self._token_rule(token, node) for token, node in rules.items())
        multiple = entries["pad_to_multiple_of"].whole() if "pad_to_multiple_of" in entries else None
        source = self._token_source(entries["source"]) if "source" in entries else "union"
        return block.trying(lambda: VocabularyRules(source, multiple, tokens))

    def _token_source(self, node: Node) -> Any:
        wanted = node.value
        if wanted == "base" and "base_model" not in self._entries:
            node.fail("is `base`, but there is no `base_model`.")
        return wanted if wanted in ("union", "base") else self._model(node)

    def _token_rule(self, token: str, node: Node) -> TokenRule:
        entries = node.entries(("source", "force"))
        if "source" not in entries:
            node.fail("has no `source`. Say whose row the token gets: a model's, or `{kind: zero}`.")
        force = entries["force"].flag() if "force" in entries else False
        return TokenRule(token, self._row(entries["source"]), force)

    def _row(self, node: Node) -> RowSource:
        if not node.is_mapping or node.entries().keys() <= set(_MODEL):
            return ModelRow(self._model(node))
        entries = node.entries(("kind", "model", "token", "token_id"))
        if "kind" not in entries:
            node.fail("has no `kind`. Say `zero` or `model_token`.")
        word = entries["kind"].text()
        if word == "zero":
            node.entries(("kind",))
            return ZeroRow()
        if word != "model_token":
            entries["kind"].fail(f"must be `zero` or `model_token`, but is {word!r}.")
        if "model" not in entries:
            node.fail("names no `model`.")
        token = entries["token"].text() if "token" in entries else None
        number = entries["token_id"].whole() if "token_id" in entries else None
        return node.trying(lambda: RowOf(self._model(entries["model"]), token, number))


def _scalar(node: Node, p: Parameter) -> Any:
    if p.kind == "flag":
        return node.flag()
    if p.kind == "word":
        return node.text()
    value = node.whole() if p.kind == "count" else node.number()
    if (p.low is not None and value < p.low) or (p.high is not None and value > p.high):
        low, high = ("-inf" if p.low is None else f"{p.low:g}"), ("inf" if p.high is None else f"{p.high:g}")
        node.fail(f"must be in [{low}, {high}], but is {value}.")
    return value


def _reference(node: Node) -> str:
    """A model as `path-or-id[@revision][+lora[@revision]]`, also where it is written with keys."""
    if not node.is_mapping:
        return node.text()
    entries = node.entries(_MODEL)
    if "model" not in entries:
        node.fail("names no `model`.")
    return "+".join(_place(entries[key]) for key in ("model", "lora") if key in entries)


def _place(node: Node) -> str:
    if not node.is_mapping:
        return node.text()
    entries = node.entries(("path", "revision"))
    if "path" not in entries:
        node.fail("has no `path`.")
    revision = f"@{entries['revision'].text()}" if "revision" in entries else ""
    return entries["path"].text() + revision


def in_order(configs: Iterable[MergekitConfig]) -> list[MergekitConfig]:
    """Documents that refer to each other by name, each after those it needs; the last one is the result.

    Raises:
        ConfigError: If two have one name, or they refer to each other in a circle, or there is no single result.
    """
    named: dict[str, MergekitConfig] = {}
    unnamed = []
    for config in configs:
        if config.name is None:
            unnamed.append(config)
        elif config.name in named:
            config.document.fail(f"this is the second document named {config.name!r}. Rename one.")
        else:
            named[config.name] = config
    used = {model for config in (*named.values(), *unnamed) for model in config.models if model in named}
    results = unnamed or [config for name, config in named.items() if name not in used]
    ordered: list[MergekitConfig] = []
    for config in results or named.values():
        _visit(config, named, ordered, ())
    if len(results) > 1:
        listed = " and ".join("one without a name" if c.name is None else repr(c.name) for c in results)
        results[1].document.fail(
            f"this is a second result: no other document uses {listed}. Leave one out, or use its name as a model."
        )
    for config in named.values():
        if config not in ordered:
            config.document.fail(
                f"the result does not need the document {config.name!r}. Leave it out, or use its name as a model."
            )
    return ordered


def _visit(
    config: MergekitConfig,
    named: Mapping[str, MergekitConfig],
    ordered: list[MergekitConfig],
    path: tuple[str, ...],
) -> None:
    if config.name in path:
        circle = " -> ".join([*path[path.index(config.name) :], config.name])
        config.document.fail(
            f"this document needs itself: {circle}. A document may only use those that do not need it."
        )
    if config in ordered:
        return
    for model in config.models:
        if model in named:
            _visit(named[model], named, ordered, path if config.name is None else (*path, config.name))
    ordered.append(config)
