"""Groups of tensors that share something: a gene of a recipe, or a chromosome.

| grouping | groups |
| --- | --- |
| [`Grouping.whole`][] | everything together |
| [`Grouping.by_layer`][] | embeddings; every block; head |
| [`Grouping.by_component`][] | embeddings; attention; mlp; head |
| [`Grouping.by_tensor`][] | every tensor |
| [`Grouping.by_filters`][] | what the filters say; the rest |

A grouping is a list of filters in the sense of a merge's settings: the first that is part of a tensor's name counts. So
a recipe with a value for each group is a recipe that other tools understand. Filters are found that tell the given
tensors apart exactly; where a short one (`.self_attn.`) would take too much, longer ones stand before it.

Norms go with what they belong to: those of a block with its attention or its MLP, the last one with the head. In a
block, what is no attention counts as MLP. What stands before the blocks goes with the embeddings, what stands after
them with the head. A model without blocks has a group for each of its layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from merganser.merging import Case, Setting
from merganser.weights import Layer, group_layers

REST = "rest"
"""Name of the group of what no filter names."""

_ATTENTION = re.compile(r"(attn|attention)(?!s)", re.IGNORECASE)
_NORM = re.compile(r".*norm.*|ln(_.*)?|.*_ln", re.IGNORECASE)
_NORM_OF_MLP = re.compile(r"feed_?forward|ff|mlp", re.IGNORECASE)
_LATER_NORM = re.compile(r"final|after|[23]$", re.IGNORECASE)
_EARLIER_NORM = re.compile(r"attn|attention|input|before|1$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which group a tensor is in.

    Attributes:
        names: Names of the groups.
        filters: Parts of tensors' names, each with the group that it leads to; the first that fits counts. What none
            fits is in the last group.

    Examples:
        >>> halves = Grouping(("attention", "rest"), ((".attn.", 0),))
        >>> halves.of("h.0.attn.weight"), halves.of("h.0.mlp.weight")
        (0, 1)
    """

    names: tuple[str, ...]
    filters: tuple[tuple[str, int], ...] = ()

    @classmethod
    def whole(cls) -> Grouping:
        """All tensors in one group."""
        return cls(("model",))

    @classmethod
    def by_layer(cls, tensors: Iterable[str]) -> Grouping:
        """One group for each block, one for the embeddings, one for the head.

        Args:
            tensors: Names of all tensors.

        Examples:
            >>> Grouping.by_layer(["wte.weight", "h.0.attn.weight", "h.1.attn.weight", "ln_f.weight"]).names
            ('embeddings', 'h.0', 'h.1', 'head')
        """
        layers = group_layers(tensors)
        members: dict[str, list[str]] = {}
        prefixes: dict[str, str] = {}
        for layer, name in _placed(layers):
            members.setdefault(name, []).extend(layer.tensors)
            if layer.kind == "block":
                prefixes.update(dict.fromkeys(layer.tensors, f"{layer.name}."))
        return cls._telling_apart(members, {t: (prefixes.get(t, t), t) for t in _all(members)})

    @classmethod
    def by_component(cls, tensors: Iterable[str]) -> Grouping:
        """Attention, MLP, embeddings and head, as far as there are such.

        Args:
            tensors: Names of all tensors.

        Examples:
            >>> names = ["wte.weight", "h.0.ln_1.weight", "h.0.attn.weight", "h.0.ln_2.weight", "h.0.mlp.weight"]
            >>> found = Grouping.by_component(names)
            >>> [found.names[found.of(name)] for name in names]
            ['embeddings', 'attention', 'attention', 'mlp', 'mlp']
        """
        members: dict[str, list[str]] = {}
        candidates: dict[str, tuple[str, ...]] = {}
        for layer, name in _placed(group_layers(tensors)):
            if layer.kind != "block":
                members.setdefault(name if name in ("embeddings", "head") else "mlp", []).extend(
                    layer.tensors
                )
                continue
            suffixes = {tensor: tensor.removeprefix(layer.name) for tensor in layer.tensors}
            for tensor, suffix in suffixes.items():
                members.setdefault(_component(suffix, list(suffixes.values())), []).append(tensor)
                candidates[tensor] = (f".{suffix.split('.')[1]}.", suffix, tensor)
        order = [name for name in ("embeddings", "attention", "mlp", "head") if name in members]
        return cls._telling_apart(
            {name: members[name] for name in order}, {t: candidates.get(t, (t,)) for t in _all(members)}
        )

    @classmethod
    def by_tensor(cls, tensors: Iterable[str]) -> Grouping:
        """One group for each tensor, called as it is.

        Args:
            tensors: Names of all tensors.

        Examples:
            >>> Grouping.by_tensor(["h.1.mlp.weight", "h.1.mlp.weight_scale"]).of("h.1.mlp.weight_scale")
            1
        """
        names = tuple(tensors)
        return cls._telling_apart({name: (name,) for name in names}, {name: (name,) for name in names})

    @classmethod
    def by_filters(cls, groups: Mapping[str, Sequence[str]], tensors: Iterable[str]) -> Grouping:
        """Groups by parts of names, and one for the rest, if there is any.

        Args:
            groups: For each group the parts of names that lead to it; the first that fits counts.
            tensors: Names of all tensors.

        Raises:
            ValueError: If a group has no tensors, or is called `rest`.
        """
        if REST in groups:
            raise ValueError(f"A group cannot be called `{REST}`: that is what no filter names. Rename it.")
        filters = tuple((part, i) for i, parts in enumerate(groups.values()) for part in parts)
        found = cls((*groups, REST), filters)
        used = {found.of(tensor) for tensor in tensors}
        empty = next((name for i, name in enumerate(groups) if i not in used), None)
        if empty is not None:
            raise ValueError(
                f"The group `{empty}` has no tensors: none has {' or '.join(map(repr, groups[empty]))} in its name, "
                "or other groups before it take them all."
            )
        return found if len(groups) in used else cls(tuple(groups), filters)

    @classmethod
    def _telling_apart(
        cls, members: Mapping[str, Sequence[str]], candidates: Mapping[str, Sequence[str]]
    ) -> Grouping:
        """The grouping with these members.

        Args:
            members: Tensors of each group.
            candidates: For each tensor filters that may stand for it, from the shortest to its name.
        """
        names = tuple(members)
        wanted = {tensor: i for i, name in enumerate(names) for tensor in members[name]}
        last = len(names) - 1
        chosen = {tensor: -1 if i == last else 0 for tensor, i in wanted.items()}
        while True:
            filters = {candidates[t][place]: wanted[t] for t, place in chosen.items() if place >= 0}
            found = cls(names, tuple(sorted(filters.items(), key=lambda each: (-len(each[0]), each[0]))))
            wrong = [tensor for tensor, i in wanted.items() if found.of(tensor) != i]
            if not wrong:
                return found
            for tensor in wrong:  # its own name, at the latest, is longer than whatever else is part of it
                chosen[tensor] = min(chosen[tensor] + 1, len(candidates[tensor]) - 1)

    def of(self, tensor: str) -> int:
        """The group of a tensor."""
        return next((group for part, group in self.filters if part in tensor), len(self.names) - 1)

    def setting(self, values: Sequence[bool | int | float | str]) -> Setting:
        """A merge's setting with a value for each group."""
        cases = (Case(values[group], part) for part, group in self.filters)
        return Setting((*cases, Case(values[-1])))


def _placed(layers: Sequence[Layer]) -> Iterable[tuple[Layer, str]]:
    """Layers with the group that each is in when blocks have one each."""
    has_blocks = any(layer.kind == "block" for layer in layers)
    begun = False
    for layer in layers:
        begun = begun or layer.kind == "block"
        if layer.kind == "block" or not (has_blocks or layer.kind in ("embeddings", "head")):
            yield layer, layer.name
        elif layer.kind == "embeddings" or not (begun or layer.kind == "head"):
            yield layer, "embeddings"
        else:
            yield layer, "head"


def _component(suffix: str, block: Sequence[str]) -> str:
    """Whether a tensor of a block, by what follows the block's name, is of its attention or its MLP."""
    path = suffix.split(".")[1:-1]
    place = next((i for i, part in enumerate(path) if _NORM.fullmatch(part)), len(path))
    if any(map(_ATTENTION.search, path[:place])):
        return "attention"
    if place == len(path) or any(_NORM_OF_MLP.search(part) for part in path[: place + 1]):
        return "mlp"
    norm, beside = path[place], ".".join(["", *path[:place], ""])
    if norm.startswith("post_attention"):
        # Llama's stands before the MLP; where the MLP has norms of its own name, it stands behind the attention
        others = {part for each in block for part in each.split(".") if _NORM.fullmatch(part)}
        is_mlps = not any(map(_NORM_OF_MLP.search, others)) or any("post_self_attn" in n for n in others)
        return "mlp" if is_mlps else "attention"
    if _LATER_NORM.search(norm):
        return "mlp"
    siblings = (each.removeprefix(beside) for each in block if each.startswith(beside))
    has_attention = any(_ATTENTION.search(each.rpartition(".")[0]) for each in siblings)
    return "attention" if _EARLIER_NORM.search(norm) or has_attention else "mlp"


def _all(members: Mapping[str, Sequence[str]]) -> list[str]:
    return [tensor for each in members.values() for tensor in each]
