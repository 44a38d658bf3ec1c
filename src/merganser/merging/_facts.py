"""What the card of a merged model is to say, gathered from its plan and recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from merganser.merging._combination import Combination
from merganser.merging._cores import Truncation
from merganser.merging._layer_path import LayerPath
from merganser.merging._merge_recipe import Ingredient, MergeRecipe
from merganser.merging._plan import MergePlan
from merganser.merging._recipe import Recipe
from merganser.merging.card import CardFacts, CardParent, Licence, combined, languages_of, licence_of
from merganser.weights import DTYPES, Checkpoint


def card_facts(plan: MergePlan, recipe: Recipe, name: str, *, licence: str | None = None) -> CardFacts:
    """The facts for the card of what a plan makes.

    Args:
        plan: The plan.
        recipe: Its recipe.
        name: The result's name.
        licence: The licence by the user's word; by default what the recipe says, or what follows from the parents'.

    Raises:
        ValueError: If the parents' licences clash, and none is given.
    """
    is_merge = isinstance(recipe, MergeRecipe)
    ingredients = recipe.ingredients if is_merge else tuple(map(Ingredient.of, plan.inputs))
    override = licence or (recipe.licence if is_merge else None)
    licences = [_licences(checkpoint) for checkpoint in plan.inputs]
    parents = tuple(
        CardParent(
            ingredient.reference,
            "base" if checkpoint is plan.base else "model",
            own[0] if len(own) == 1 else combined(_named(checkpoint, own), override=override).licence,
            ingredient.fingerprint,
            ingredient.digest,
            languages_of(checkpoint),
        )
        for ingredient, checkpoint, own in zip(ingredients, plan.inputs, licences, strict=True)
    )
    named = [each for c, own in zip(plan.inputs, licences, strict=True) for each in _named(c, own)]
    verdict = combined(named, override=override)
    merged = [target.spec for target in plan.targets if target.is_merged or plan.is_adapter]
    types = {DTYPES[spec.dtype].library for spec in merged}
    classes = plan.config.get("architectures")
    return CardFacts(
        name,
        parents,
        _methods(plan),
        verdict,
        _text(recipe, parents),
        architectures=tuple(map(str, classes)) if isinstance(classes, list) else (),
        parameters=sum(spec.numel for spec in merged),
        dtype=types.pop() if len(types) == 1 else None,
        tokenizer=_tokenizer(plan),
        chat_template=None if plan.chat_template is None else "The chat template was chosen for the merge.",
        is_adapter=plan.is_adapter,
        notes=() if plan.vocabulary is None else plan.vocabulary.notes,
    )


def with_truncation(facts: CardFacts, plan: MergePlan) -> CardFacts:
    """The facts with what a chosen rank has cost, in total and for the tensor that lost most."""
    cut = {} if plan.cores is None else {n: t for n, t in plan.cores.truncations().items() if t.lost > 0}
    if plan.blueprint is None or plan.blueprint.rank is None or not cut:
        return facts
    worst = max(cut, key=lambda name: cut[name].share)
    note = (
        f"Merged changes were cut to rank {plan.blueprint.rank}: {share_lost(plan):.2%} of their energy (the sum of "
        f"their squares) is lost, at most {cut[worst].share:.2%} in one tensor (`{worst}`)."
    )
    return dataclasses.replace(facts, notes=(*facts.notes, note))


def share_lost(plan: MergePlan) -> float:
    """Share of the energy of all merged changes that a chosen rank leaves out, in [0, 1]."""
    cut = [] if plan.cores is None else list(plan.cores.truncations().values())
    return Truncation(sum(t.energy for t in cut), sum(t.lost for t in cut)).share


def _licences(checkpoint: Checkpoint) -> list[Licence]:
    """The licence of a model, and those of the adapters on it."""
    settings = [stamp.path for stamp in checkpoint.tensors.stamps if stamp.path.name == "adapter_config.json"]
    adapters = [dataclasses.replace(checkpoint, home=path.parent, metadata={}) for path in settings]
    return [licence_of(each) for each in (checkpoint, *adapters)]


def _named(checkpoint: Checkpoint, licences: Sequence[Licence]) -> list[tuple[str, Licence]]:
    """Licences with the places they are of."""
    places = checkpoint.source.rsplit("+", len(licences) - 1)
    return list(zip(places, licences, strict=True))


def _methods(plan: MergePlan) -> tuple[str, ...]:
    """The methods, as we call them; a combination of seeds is none."""
    if plan.blueprint is None:
        return ()
    if plan.blueprint.dialect == "merganser":
        return (plan.method_name,)
    from merganser.merging.methods.mergekit import our_name

    return (our_name(plan.method_name),)


def _tokenizer(plan: MergePlan) -> str | None:
    if plan.vocabulary is None:
        return None
    return f"The vocabulary has {len(plan.vocabulary.tokens):,} tokens in {plan.vocabulary.size:,} rows."


def _text(recipe: Recipe, parents: Iterable[CardParent]) -> str:
    """The recipe for people: models by name, nothing that is not set."""
    if isinstance(recipe, LayerPath):
        return f"A path of {len(recipe.hops)} hops through the blocks of {len(recipe.seeds)} models: `recipe.json`."
    if isinstance(recipe, Combination):
        return f"A combination of {len(recipe.seeds)} seeds in {len(recipe.coefficients):,} segments: `recipe.json`."
    names = [parent.reference or "in memory" for parent in parents]
    plain = {"models": dict(enumerate(names)), **recipe.blueprint.to_json()}
    return yaml.safe_dump(_without_gaps(plain), sort_keys=False, allow_unicode=True, width=110)


def _without_gaps(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_gaps(each) for key, each in value.items() if each is not None}
    return [_without_gaps(each) for each in value] if isinstance(value, list) else value
