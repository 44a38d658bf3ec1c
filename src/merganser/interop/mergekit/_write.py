"""Merges as mergekit's YAML: what mergekit can say, and a word on what it will do in another way.

A recipe whose models were made on the way becomes several documents, which `mergekit-multi` carries out. What mergekit
has no words for is an error; where it computes other numbers by the same words, comments at the top say so. A half
precision is asked for as `out_dtype` only, with `dtype: float32`: mergekit computes in its `dtype`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from merganser.interop.mergekit._terms import has_gradients, in_mergekits_terms, values_of
from merganser.merging import Blueprint, MergeRecipe, Module, Settings, Slice, Source
from merganser.merging.methods.mergekit import SIGNATURES, our_name
from merganser.merging.vocabulary import ModelRow, RowSource, VocabularyRules, ZeroRow

_DIFFERENCES: Mapping[str, str] = {
    "ties": "trims each tensor, where Merganser trims the whole model",
    "model_stock": "takes products of two lengths below 1e-6 for 1e-6, so light fine-tunes stay at the base",
    "sce": "gives all models the same weight where their mean squares sum to less than 1e-6",
    "arcee_fusion": "takes the quantiles of tensors above a million entries from a random sample",
}
"""What mergekit does otherwise, by our names for methods."""

_RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")


def to_yaml(merge: MergeRecipe | Blueprint, models: Sequence[str] | None = None) -> str:
    """Write a merge as mergekit's YAML.

    Args:
        merge: A recipe, or a blueprint.
        models: What to call the models that the merge numbers; by default as the recipe does.

    Returns:
        One document, or several where models were made on the way.

    Raises:
        ValueError: If mergekit cannot do it, or it is not known where a model is.

    Examples:
        >>> merge = Blueprint.plain("slerp", [0, 1], {"t": 0.3}, dtype="bfloat16")
        >>> print(to_yaml(merge, ["org/a", "org/b"]))
        merge_method: slerp
        base_model: org/a
        models:
        - model: org/a
        - model: org/b
        parameters:
          t: 0.3
        dtype: float32
        out_dtype: bfloat16
        <BLANKLINE>
    """
    is_recipe = isinstance(merge, MergeRecipe)
    stages = _stages(merge, models) if is_recipe else [_Stage(merge, tuple(models or ()))]
    return "---\n".join(_Writer(stage).text() for stage in stages)


@dataclass(frozen=True)
class _Stage:
    """A document to write.

    Args:
        blueprint: The merge.
        models: References of its models.
        name: What other documents call its result.
    """

    blueprint: Blueprint
    models: tuple[str, ...]
    name: str | None = None


def _stages(recipe: MergeRecipe, models: Sequence[str] | None) -> list[_Stage]:
    """A recipe and those of models that were made on the way, each after those it needs."""
    if models is not None and len(models) != len(recipe.ingredients):
        raise ValueError(f"The recipe names {len(recipe.ingredients)} models, but {len(models)} were given.")
    made: list[tuple[MergeRecipe, str]] = []
    stages: list[_Stage] = []

    def add(recipe: MergeRecipe, given: Sequence[str | None], name: str | None) -> None:
        references = [
            reference if each.recipe is None else made_by(each.recipe)
            for each, reference in zip(recipe.ingredients, given, strict=True)
        ]
        if None in references:
            raise ValueError(
                "The recipe was made with a model that was only in memory. Say in `models` where the models are."
            )
        stages.append(_Stage(recipe.blueprint, tuple(map(str, references)), name))

    def made_by(recipe: MergeRecipe) -> str:
        known = next((name for each, name in made if each == recipe), None)
        if known is None:
            known = f"stage-{len(made) + 1}"
            made.append((recipe, known))
            add(recipe, [each.reference for each in recipe.ingredients], known)
        return known

    add(recipe, models or [each.reference for each in recipe.ingredients], None)
    return stages


class _Writer:
    """Writes one document."""

    def __init__(self, stage: _Stage) -> None:
        self._ours, self._models, self._name = stage.blueprint, stage.models, stage.name
        if stage.blueprint.as_adapter or stage.blueprint.rank is not None:
            raise ValueError(
                "The merge makes an adapter, or cuts changes to a rank, which mergekit's files cannot say. Its own "
                "recipe is `recipe.json`."
            )
        self._merge = in_mergekits_terms(stage.blueprint)
        self._base_is_input = SIGNATURES[self._merge.method].base == "input"

    def text(self) -> str:
        """The document, and above it comments on what mergekit does otherwise."""
        comments = "".join(f"# mergekit {difference}.\n" for difference in self._differences())
        return comments + yaml.dump(self._document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)

    def _document(self) -> dict[str, Any]:
        merge, base = self._merge, self._base
        is_narrow = merge.dtype in ("float16", "bfloat16")
        return _filled(
            {
                "name": self._name,
                "merge_method": merge.method,
                "base_model": None if base is None else self._reference(base),
                **self._modules(),
                "dtype": "float32" if is_narrow else merge.dtype,
                "out_dtype": merge.dtype if is_narrow else None,
                "tokenizer": None if merge.vocabulary is None else self._vocabulary(merge.vocabulary),
                "chat_template": merge.chat_template,
            }
        )

    @property
    def _base(self) -> int | None:
        """The base to name: mergekit adds one that a whole merge does not list to its models."""
        base = self._merge.base
        whole = [module.slices[0] for module in self._merge.modules if _is_whole(module)]
        is_added = any(all(source.model != base for source in slice_.sources) for slice_ in whole)
        return None if self._base_is_input and is_added else base

    def _modules(self) -> dict[str, Any]:
        modules, settings = self._merge.modules, self._merge.settings
        names = [module.name for module in modules]
        if names == [None]:
            return self._stack(modules[0], settings)
        if None in names or len(set(names)) < len(names):
            raise ValueError(f"mergekit needs a name for each of several modules, but they have {names}.")
        stacks = {str(module.name): _filled(self._stack(module)) for module in modules}
        return {"modules": stacks, "parameters": _parameters(settings)}

    def _stack(self, module: Module, *wider: Settings) -> dict[str, Any]:
        """What a module is made of, and its parameters together with the wider ones."""
        if not _is_whole(module):
            slices = [self._slice(slice_) for slice_ in module.slices]
            return {"slices": slices, "parameters": _parameters(module.settings, *wider)}
        [slice_] = module.slices
        if slice_.base not in (None, self._merge.base):
            raise ValueError(
                "Whole models have a base of their own, and mergekit knows one only for slices. Name their blocks."
            )
        models = [self._source(source) for source in slice_.sources]
        self._check_twice(models)
        return {"models": models, "parameters": _parameters(slice_.settings, module.settings, *wider)}

    def _slice(self, slice_: Slice) -> dict[str, Any]:
        blocks = [source.blocks for source in slice_.sources if source.blocks is not None]
        if len(blocks) < len(slice_.sources):
            raise ValueError(
                "A slice takes all blocks of a model, and mergekit wants to know which ones these are. Name the first "
                "block, and one past the last."
            )
        base = self._merge.base if slice_.base is None else slice_.base
        sources = [self._source(source) for source in slice_.sources]
        if not self._base_is_input and base is not None and all(s.model != base for s in slice_.sources):
            first, last = blocks[0]
            sources.append(self._source(Source(base, (0, last - first))))
        self._check_twice(sources)
        own = None if slice_.base is None else self._reference(slice_.base)
        return _filled({"sources": sources, "base_model": own, "parameters": _parameters(slice_.settings)})

    def _source(self, source: Source) -> dict[str, Any]:
        blocks = None if source.blocks is None else list(source.blocks)
        reference, settings = self._reference(source.model), _parameters(source.settings)
        return _filled({"model": reference, "layer_range": blocks, "parameters": settings})

    def _check_twice(self, sources: Sequence[Mapping[str, Any]]) -> None:
        models = [source["model"] for source in sources]
        twice = next((model for model in models if models.count(model) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is merged with itself, which mergekit refuses. Make a copy of it.")

    def _reference(self, number: int) -> str:
        if number >= len(self._models):
            raise ValueError(f"The merge speaks of model {number}, but {len(self._models)} were named.")
        return self._models[number]

    def _vocabulary(self, rules: VocabularyRules) -> dict[str, Any]:
        source = rules.source
        if source == "base" and self._base is None:
            source = self._merge.base or 0
        tokens = {
            rule.token: _filled({"source": self._row(rule.row), "force": rule.force or None})
            for rule in rules.tokens
        }
        return _filled(
            {
                "source": self._reference(source) if isinstance(source, int) else source,
                "pad_to_multiple_of": rules.pad_to_multiple_of,
                "tokens": tokens,
            }
        )

    def _row(self, row: RowSource) -> Any:
        if isinstance(row, ZeroRow):
            return {"kind": "zero"}
        if isinstance(row, ModelRow):
            return self._reference(row.model)
        named = {"token": row.token} if row.token_id is None else {"token_id": row.token_id}
        return {"kind": "model_token", "model": self._reference(row.model), **named}

    def _differences(self) -> Iterator[str]:
        ours, is_papers = self._ours, self._ours.formulas == "papers"
        method = ours.method if ours.dialect == "merganser" else our_name(ours.method)
        rescale = values_of(ours, "rescale") or ["exact"]
        if ours.space == "core":
            yield "merges adapters as whole tensors, where Merganser merged them in their common directions"
        if method in _RANDOM:
            yield "draws other random numbers"
        if is_papers and method in _RANDOM and ("exact" in rescale or True in rescale):
            yield "restores L1 norms, where Merganser divides by the chance of being kept"
        if is_papers and method in _DIFFERENCES and set(values_of(ours, "scope")) != {"tensor"}:
            yield _DIFFERENCES[method]
        if is_papers and has_gradients(ours):
            yield "gives what stands after the blocks the first value of a gradient, where Merganser gives the last"
        first = self._merge.slices[0].sources[0].model
        if ours.donor != (first if self._base is None else self._base):
            donor = self._reference(ours.donor)
            yield f"takes configuration and tokenizer of the base, or of any model, where Merganser takes {donor}'s"


class _Dumper(yaml.SafeDumper):
    """Writes lists of plain values in one line, and nothing as an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Always."""
        return True

    def represent_list(self, data: Iterable[Any]) -> yaml.SequenceNode:
        """In one line, unless there are mappings in it."""
        is_flat = not any(isinstance(each, dict) for each in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=is_flat)


_Dumper.add_representer(list, _Dumper.represent_list)


def _is_whole(module: Module) -> bool:
    return len(module.slices) == 1 and all(source.blocks is None for source in module.slices[0].sources)


def _parameters(*levels: Settings) -> dict[str, Any]:
    """Several levels of settings as one, the narrowest first."""
    written: dict[str, Any] = {}
    for name in dict.fromkeys(name for level in levels for name in level):
        cases: list[dict[str, Any]] = []
        for case in (case for level in levels if name in level for case in level[name].cases):
            value = list(case.value) if isinstance(case.value, tuple) else case.value
            cases.append({"value": value} if case.filter is None else {"filter": case.filter, "value": value})
            if case.filter is None:
                break  # what follows never counts
        written[name] = cases[0]["value"] if "filter" not in cases[0] else cases
    return written


def _filled(entries: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, without what is not."""
    return {key: value for key, value in entries.items() if value not in (None, {})}
