"""A merge of ours in mergekit's terms: one blueprint becomes another, with mergekit's names and defaults.

| ours | mergekit's |
| --- | --- |
| a parameter that is not set | it is set, unless mergekit's default is the same |
| a value of a parameter | what `to_mergekit` makes of it, in each case and at each step of a gradient |
| the first model of a `slerp` | the base |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from merganser.merging import (
    METHODS,
    Blueprint,
    Case,
    Module,
    Parameter,
    Setting,
    Settings,
    Slice,
    parameters_of,
)
from merganser.merging.methods.mergekit import SIGNATURES, to_mergekit


def in_mergekits_terms(blueprint: Blueprint) -> Blueprint:
    """A blueprint in mergekit's dialect that means the same.

    Raises:
        ValueError: If mergekit has no such thing.
    """
    return blueprint if blueprint.dialect == "mergekit" else _Terms(blueprint).translated()


class _Terms:
    """Translates one blueprint."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._ours, self._method = blueprint, blueprint.method
        self._known = parameters_of(METHODS[self._method])
        self._typical = {p.name: values[0] for p in self._known if (values := self._values(p))}

    def translated(self) -> Blueprint:
        """The blueprint in mergekit's terms."""
        for p in self._known:
            if p.kind == "numbers":
                self._exported(p.name, self._values(p))  # some must be alike for all models
        bases = {slice_.sources[0].model for slice_ in self._ours.slices}
        return replace(
            self._ours,
            method=to_mergekit(self._method, self._typical).method,
            modules=tuple(self._module(module, own_bases=len(bases) > 1) for module in self._ours.modules),
            settings=self._shared(),
            base=bases.pop() if self._is_slerp and len(bases) == 1 else self._ours.base,
            dialect="mergekit",
        )

    @property
    def _is_slerp(self) -> bool:
        return self._method == "slerp"

    def _module(self, module: Module, *, own_bases: bool) -> Module:
        slices = tuple(self._slice(slice_, own_base=own_bases) for slice_ in module.slices)
        return replace(module, slices=slices, settings=self._settings(module.settings))

    def _slice(self, slice_: Slice, *, own_base: bool) -> Slice:
        sources = tuple(replace(each, settings=self._settings(each.settings)) for each in slice_.sources)
        base = sources[0].model if self._is_slerp and own_base else slice_.base
        return replace(slice_, sources=sources, base=base, settings=self._settings(slice_.settings))

    def _shared(self) -> Settings:
        """The settings of the whole merge, complete, but for those that mergekit's defaults agree with."""
        filled = dict(self._ours.settings)
        for p in self._known:
            if not p.is_required and not self._is_settled(p):
                cases = filled[p.name].cases if p.name in filled else ()
                filled[p.name] = Setting((*cases, Case(p.default)))
        signature = SIGNATURES[to_mergekit(self._method, self._typical).method]
        theirs = {**signature.shared, **signature.per_model}
        return {
            name: setting
            for name, setting in self._settings(filled).items()
            if setting != Setting.of(theirs[name].default)
        }

    def _is_settled(self, p: Parameter) -> bool:
        """Whether our default never counts."""
        if _covers(self._ours.settings, p):
            return True
        sources = [source for slice_ in self._ours.slices for source in slice_.sources]
        return p.kind == "numbers" and all(_covers(source.settings, p) for source in sources)

    def _values(self, p: Parameter) -> list[Any]:
        """All values that a parameter has somewhere."""
        values = values_of(self._ours, p.name)
        return values if p.is_required or self._is_settled(p) else [*values, p.default]

    def _settings(self, settings: Settings) -> Settings:
        found: dict[str, Setting] = {}
        for name, setting in settings.items():
            for theirs in self._exported(name, setting.values[0]):
                cases = (Case(self._value(name, theirs, case.value), case.filter) for case in setting.cases)
                found[theirs] = Setting(tuple(cases))
        return found

    def _value(self, name: str, theirs: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self._exported(name, each)[theirs] for each in value)
        return self._exported(name, value)[theirs]

    def _exported(self, name: str, value: Any) -> dict[str, Any]:
        """What a value of one of our parameters is in mergekit's."""
        _, shared, per_model = to_mergekit(self._method, {**self._typical, name: value})
        values = {**shared, **per_model}
        if name in values:
            return {name: values[name]}
        return {key: each for key, each in values.items() if all(key != p.name for p in self._known)}


def values_of(blueprint: Blueprint, name: str) -> list[Any]:
    """All values that a parameter is set to somewhere."""
    settings = (level[name] for level in _levels(blueprint) if name in level)
    return [value for setting in settings for value in setting.values]


def has_gradients(blueprint: Blueprint) -> bool:
    """Whether a parameter varies with depth."""
    settings = (setting for level in _levels(blueprint) for setting in level.values())
    return any(isinstance(case.value, tuple) for setting in settings for case in setting.cases)


def _levels(blueprint: Blueprint) -> Iterator[Settings]:
    """The settings of a blueprint, from the widest to the narrowest."""
    yield blueprint.settings
    yield from (module.settings for module in blueprint.modules)
    yield from (slice_.settings for slice_ in blueprint.slices)
    yield from (source.settings for slice_ in blueprint.slices for source in slice_.sources)


def _covers(settings: Settings, p: Parameter) -> bool:
    return p.name in settings and any(case.filter is None for case in settings[p.name].cases)
