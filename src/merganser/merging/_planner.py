"""Laying out a blueprint: which tensors of the result are made of which, with which parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from merganser._errors import CheckpointError
from merganser.merging._anatomy import Anatomy, depth_of
from merganser.merging._blueprint import Blueprint, Module, Slice, Source
from merganser.merging._dialect import method_named, takes_base_as_input
from merganser.merging._layout import is_inputs_first
from merganser.merging._measured import MeasuredTensor, measured_tensor
from merganser.merging._plan import Target
from merganser.merging._settings import Settings, first_of
from merganser.merging._sliced_config import StackCut, sliced_config
from merganser.merging._statistics import Statistics
from merganser.merging.methods import METHODS, MergeMethod, bind, parameters_of, unknown_parameter
from merganser.weights import DTYPES, Aligned, Checkpoint, TensorSpec, flat_order, is_derived, misfit, tied_to

_FLOATS = {row.library: row.name for row in DTYPES.values() if row.is_floating}


class SliceError(ValueError):
    """A source asks for blocks that its model does not have.

    Attributes:
        source: The source.
    """

    def __init__(self, message: str, source: Source) -> None:
        super().__init__(message)
        self.source = source


class _Part(NamedTuple):
    """A source that takes part in a tensor."""

    checkpoint: Checkpoint
    tensor: str
    settings: Settings


class Planner:
    """Lays out one blueprint."""

    def __init__(
        self, blueprint: Blueprint, models: Sequence[Checkpoint], statistics: Sequence[Statistics | None] = ()
    ) -> None:
        self._blueprint, self._models, self._statistics = blueprint, models, statistics
        self._named = method_named(blueprint.method, blueprint.dialect)
        self._is_translated = blueprint.dialect == "mergekit" and blueprint.formulas == "papers"
        self._base_is_input = self._is_translated and takes_base_as_input(blueprint.method, self._named)
        self._dtype = _stored_type(blueprint.dtype)
        self._bound: dict[tuple[Any, ...], MergeMethod] = {}
        self._anatomies = {number: Anatomy(models[number]) for number in blueprint.models}
        self._check_settings()
        for slice_ in blueprint.slices:
            check_base(blueprint.method, self._named, has_base=self._base(slice_) is not None)

    def targets(self) -> Iterator[Target]:
        """The tensors of the result, in the order in which they are written."""
        if self._blueprint.is_whole:
            yield from self._whole()
            return
        targets = {target.spec.name: target for target in self._joined()}
        for name in flat_order(targets):
            yield targets[name]

    def _whole(self) -> Iterator[Target]:
        [module], [slice_] = self._blueprint.modules, self._blueprint.slices
        donor = self._anatomies[self._blueprint.donor]
        checkpoints = [self._models[source.model] for source in self._sources(slice_)]
        for name in _names(checkpoints, donor.checkpoint):
            depth = donor.depths.get(name, self._after)
            yield self._target(name, [name] * len(checkpoints), module, slice_, depth)

    def _joined(self) -> Iterator[Target]:
        for module, stack in self._stacks():
            yield from self._outside(module, stack)
            number = 0
            for slice_ in module.slices:
                rows = self._rows(slice_, stack)
                for i, blocks in enumerate(rows):
                    yield from self._block(number, blocks, module, stack, slice_, depth_of(i, len(rows)))
                    number += 1

    def _rows(self, slice_: Slice, stack: int) -> list[tuple[int, ...]]:
        """For each block of a slice, which block of each of its sources it is made of."""
        sources = self._sources(slice_)
        ranges = [self._range(source, stack) for source in sources]
        if len({len(each) for each in ranges}) > 1:
            listed = ", ".join(
                f"{len(each)} of {self._models[source.model].source}"
                for each, source in zip(ranges, sources, strict=True)
            )
            raise ValueError(f"The sources of a slice must have equally many blocks, but it takes {listed}.")
        return list(zip(*ranges, strict=True))

    def config(self) -> Mapping[str, Any]:
        """The donor's configuration, true to the blocks that the result has."""
        donor = self._anatomies[self._blueprint.donor]
        cuts: list[StackCut] = []
        for module, stack in () if self._blueprint.is_whole else self._stacks():
            origins = [origin for slice_ in module.slices for origin in self._origins(slice_, stack)]
            count = len(donor.stacks[stack].blocks)
            if origins != [(self._blueprint.donor, number) for number in range(count)]:
                sources = tuple((self._models[model].config, number) for model, number in origins)
                cuts.append(StackCut(donor.stacks[stack].pattern, sources, count))
        config = donor.checkpoint.config
        return sliced_config(config, cuts) if cuts and config else config

    def _origins(self, slice_: Slice, stack: int) -> list[tuple[int, int]]:
        """For each block of a slice, the model and block whose kind it is of: the donor's, or the first source's."""
        models = [source.model for source in self._sources(slice_)]
        place = models.index(self._blueprint.donor) if self._blueprint.donor in models else 0
        return [(models[place], blocks[place]) for blocks in self._rows(slice_, stack)]

    def _stacks(self) -> Iterator[tuple[Module, int]]:
        """Each module with the number of the stack that it makes."""
        donor = self._anatomies[self._blueprint.donor]
        patterns = [stream.pattern for stream in donor.stacks]
        taken: set[int] = set()
        for module in self._blueprint.modules:
            fitting = [
                i
                for i, pattern in enumerate(patterns)
                if module.name in (None, "default", *pattern.split("."))
            ]
            if len(fitting) != 1:
                listed = ", ".join(f"`{pattern.format('N')}`" for pattern in patterns) or "none"
                what = "The slices do" if module.name is None else f"The module `{module.name}` does"
                raise ValueError(
                    f"{what} not say which blocks are meant: {donor.checkpoint.source} has the stacks {listed}. Name "
                    "each in `modules` by a part of its path, such as `encoder`."
                )
            yield module, fitting[0]
            taken.update(fitting)
        missing = [patterns[i] for i in range(len(patterns)) if i not in taken]
        if missing:
            raise ValueError(
                f"`modules` says nothing of `{missing[0].format('N')}`, which {donor.checkpoint.source} has too. Say "
                "what to do with it; a module with `models` merges it whole."
            )

    def _range(self, source: Source, stack: int) -> range:
        checkpoint = self._models[source.model]
        stacks = self._anatomies[source.model].stacks
        has = len(stacks[stack].blocks) if stack < len(stacks) else 0
        begin, end = source.blocks or (0, has)
        if not 0 <= begin < end <= has:
            raise SliceError(
                f"Blocks {begin} to {end} (exclusive) of {checkpoint.source} were asked for, but it has {has} "
                f"blocks. Expected 0 <= first < last <= {has}.",
                source,
            )
        return range(begin, end)

    def _block(
        self, number: int, blocks: Sequence[int], module: Module, stack: int, slice_: Slice, depth: float
    ) -> Iterator[Target]:
        sources = self._sources(slice_)
        found = [self._anatomies[s.model].blocks(stack)[i] for s, i in zip(sources, blocks, strict=True)]
        donor = self._anatomies[self._blueprint.donor]
        block = donor.stacks[stack].pattern.format(number)
        found = [
            self._without_relics(each, found, source) for each, source in zip(found, sources, strict=True)
        ]
        for suffix in found[0]:
            absent = next((i for i, names in enumerate(found) if suffix not in names), None)
            if absent is not None:
                raise CheckpointError(
                    self._absence(found[0][suffix], sources[0], sources[absent], blocks[absent])
                )
        for i, names in enumerate(found):
            extra = next((suffix for suffix in names if suffix not in found[0]), None)
            if extra is not None:
                raise CheckpointError(self._absence(names[extra], sources[i], sources[0], blocks[0]))
        for suffix in found[0]:
            names = [each[suffix] for each in found]
            yield self._target(f"{block}{suffix}", names, module, slice_, depth)

    def _without_relics(
        self, names: dict[str, str], others: Sequence[Mapping[str, str]], source: Source
    ) -> dict[str, str]:
        """A block's tensors, without those that follow from the configuration and that another source lacks."""
        checkpoint = self._models[source.model]
        return {
            suffix: name
            for suffix, name in names.items()
            if all(suffix in other for other in others) or not is_derived(checkpoint.spec(name))
        }

    def _absence(self, name: str, present: Source, absent: Source, block: int) -> str:
        there, here = self._models[present.model].source, self._models[absent.model].source
        return (
            f"Tensor {name!r} of {there} has no counterpart in block {block} of {here}, with which it is to be "
            "merged. Models to combine must share one architecture."
        )

    def _outside(self, module: Module, stack: int) -> Iterator[Target]:
        """What stands before the first slice's blocks, and after the last one's."""
        for is_before, slice_ in ((True, module.slices[0]), (False, module.slices[-1])):
            numbers = [source.model for source in self._sources(slice_)]
            checkpoints = [self._models[number] for number in numbers]
            donor = self._blueprint.donor if self._blueprint.donor in numbers else numbers[0]
            wanted = {
                tensor.name
                for number in self._anatomies
                for tensor in self._anatomies[number].outside
                if (tensor.stack, tensor.is_before) == (stack, is_before)
            }
            names = [*_names(checkpoints, self._models[donor]), *self._heads_apart(checkpoints)]
            for name in dict.fromkeys(name for name in names if name in wanted):
                depth = 0.0 if is_before else self._after
                yield self._target(name, [name] * len(numbers), module, slice_, depth)

    def _heads_apart(self, checkpoints: Sequence[Checkpoint]) -> Iterator[str]:
        """Names that each of these models ties, but another model of the merge holds apart."""
        for number in self._anatomies:
            for name in self._models[number]:
                if all(name not in checkpoint and tied_to(name, checkpoint) for checkpoint in checkpoints):
                    yield name

    def _target(self, name: str, names: Sequence[str], module: Module, slice_: Slice, depth: float) -> Target:
        """One tensor of the result, made of the tensors that the slice's sources have under these names."""
        sources = self._sources(slice_)
        checkpoints = [self._models[source.model] for source in sources]
        holder, held = self._holder(checkpoints, names)
        resolved = [
            _resolve(checkpoint, each, holder, held)
            for checkpoint, each in zip(checkpoints, names, strict=True)
        ]
        spec, base = holder.spec(held), int(self._base(slice_) is not None)
        method = None
        if spec.is_floating:
            parts = list(map(_Part, checkpoints, resolved, (source.settings for source in sources)))
            method = self._method(name, parts[base:], (slice_.settings, module.settings), depth)
        stored = TensorSpec(name, self._dtype or spec.dtype if spec.is_floating else spec.dtype, spec.shape)
        transposed = (
            method is not None and method.outputs_first and any(map(is_inputs_first, checkpoints, resolved))
        )
        aligned = Aligned(
            tuple(zip(checkpoints, resolved, strict=True)),
            whole_rows=method is not None and method.whole_rows,
            neurons=method is not None and method.neurons,
            in_one=transposed,
        )
        measured = MeasuredTensor()
        if method is not None and self._named.rule.statistics is not None:
            found = [self._statistics[source.model] for source in sources[base:]]
            given = [each for each in found if each is not None]
            measured = measured_tensor(aligned.sources[base:], given, spec)
        has_base = bool(base) and not self._base_is_input
        return Target(
            stored, aligned, method, has_base, measured.statistics, measured.inputs_first, transposed
        )

    def _holder(self, checkpoints: Sequence[Checkpoint], names: Sequence[str]) -> tuple[Checkpoint, str]:
        """Whose tensor says what the result's is like: the donor's, or else the first there is."""
        donor = self._models[self._blueprint.donor]
        holders = [(c, n) for c, n in zip(checkpoints, names, strict=True) if n in c]
        if not holders:  # all tie it
            return next((c, t) for c, n in zip(checkpoints, names, strict=True) if (t := tied_to(n, c)))
        return next((holder for holder in holders if holder[0] is donor), holders[0])

    def _method(
        self, name: str, parts: Sequence[_Part], levels: Sequence[Settings], depth: float
    ) -> MergeMethod:
        """The method with the parameters that hold for a tensor."""
        shared = (*levels, self._blueprint.settings)
        values: dict[str, Any] = {}
        for p in parameters_of(self._named):
            if p.kind != "numbers":
                value = first_of(shared, p.name, name, depth)
                values |= {} if value is None else {p.name: value}
                continue
            each = [first_of((part.settings, *shared), p.name, part.tensor, depth) for part in parts]
            missing = next((part for part, v in zip(parts, each, strict=True) if v is None), None)
            if missing is not None and p.is_required:
                raise ValueError(
                    f"`{self._blueprint.method}` needs `{p.name}` ({p.help}), but for {missing.tensor!r} of "
                    f"{missing.checkpoint.source} it is not set."
                )
            if any(value is not None for value in each):
                values[p.name] = tuple(p.default if value is None else value for value in each)
        key = (len(parts), *values.items())
        if key not in self._bound:
            self._bound[key] = self._bind(len(parts), values)
        return self._bound[key]

    def _bind(self, models: int, values: Mapping[str, Any]) -> MergeMethod:
        if not self._is_translated:
            return bind(self._blueprint.method, self._named, models, values)
        from merganser.merging.methods.mergekit import translate

        ours, translated = translate(self._blueprint.method, values)
        return bind(ours, METHODS[ours], models + self._base_is_input, translated)

    @property
    def _after(self) -> float:
        """Depth of what stands after the blocks."""
        return 0.0 if self._blueprint.formulas == "mergekit" else 1.0

    def _base(self, slice_: Slice) -> int | None:
        if self._blueprint.dialect == "mergekit" and self._named.rule.base == "refused":
            return None  # there a base is one more model, and listed
        return self._blueprint.base if slice_.base is None else slice_.base

    def _sources(self, slice_: Slice) -> list[Source]:
        """A slice's sources, the base first, if there is one."""
        base = self._base(slice_)
        if base is None:
            return list(slice_.sources)
        own = next((source for source in slice_.sources if source.model == base), Source(base))
        return [own, *(source for source in slice_.sources if source is not own)]

    def _check_settings(self) -> None:
        """Make sure that settings are those of the method, and that sources have none that all models share."""
        known = {p.name: p for p in parameters_of(self._named)}
        own = [source.settings for slice_ in self._blueprint.slices for source in slice_.sources]
        shared = [self._blueprint, *self._blueprint.modules, *self._blueprint.slices]
        for settings in (*own, *(level.settings for level in shared)):
            for name in settings:
                if name not in known:
                    raise ValueError(unknown_parameter(self._blueprint.method, name, known))
        for settings in own:
            for name in settings:
                if known[name].kind != "numbers":
                    raise ValueError(
                        f"`{name}` of `{self._blueprint.method}` has one value for all models, but is set for a single "
                        "one. Set it for the slice or the whole merge."
                    )


def check_base(method: str, rule_class: type[MergeMethod], *, has_base: bool) -> None:
    wanted = rule_class.rule.base
    if wanted == "required" and not has_base:
        raise ValueError(
            f"`{method}` works on differences from a base model, but none was given. Name the model that the others "
            "were tuned from as `base`, or use `linear`."
        )
    if wanted == "refused" and has_base:
        raise ValueError(
            f"`{method}` takes no base model. Name it among the models if it is to be merged with them."
        )


def _stored_type(dtype: str | None) -> str | None:
    if dtype is None:
        return None
    name = dtype.removeprefix("torch.")
    if name not in _FLOATS:
        raise ValueError(f"`dtype` must be one of {', '.join(_FLOATS)}, but is {dtype!r}.")
    return _FLOATS[name]


def _names(inputs: Sequence[Checkpoint], donor: Checkpoint) -> list[str]:
    """The donor's tensors, and those that it ties but another model holds apart.

    What follows from the configuration is left out, if one of the models lacks it.
    """
    others = sorted({n for c in inputs for n in c if n not in donor and not is_derived(c.spec(n))})
    for name in others:
        if tied_to(name, donor) is None:
            holder = next(checkpoint for checkpoint in inputs if name in checkpoint)
            raise CheckpointError(misfit(name, holder, donor))
    kept = [n for n in donor if all(n in c for c in inputs) or not is_derived(donor.spec(n))]
    return [*kept, *others]


def _resolve(checkpoint: Checkpoint, name: str, holder: Checkpoint, held: str) -> str:
    """What a checkpoint calls a tensor: by its name, or by that of the tensor it ties it to.

    Args:
        checkpoint: The checkpoint.
        name: What it should be called there.
        holder: A checkpoint that has its counterpart.
        held: What the counterpart is called.
    """
    tied = None if name in checkpoint else tied_to(name, checkpoint)
    found, expected = tied or name, holder.spec(held)
    if tied is not None and checkpoint.spec(tied).shape == expected.shape:
        return tied
    if name == held:
        if why := misfit(name, holder, checkpoint):
            raise CheckpointError(why)
    elif (
        checkpoint.spec(found).shape != expected.shape
        or checkpoint.spec(found).is_floating != expected.is_floating
    ):
        raise CheckpointError(
            f"Tensor {found!r} of {checkpoint.source} is {_described(checkpoint.spec(found))}, but {held!r} of "
            f"{holder.source}, with which it is to be merged, is {_described(expected)}."
        )
    return name


def _described(spec: TensorSpec) -> str:
    return f"{spec.dtype} of shape {spec.shape}"
