"""What a run is asked to do: one file, checked whole before anything starts.

```yaml
version: 1
models: [a.safetensors, b.safetensors]   # or `scratch`, or `specialists`
task: digits                             # or `tasks: [{task: …, weight: 1}]`
genome: {rule: slerp, angles: whole}
adapt: {base: model/}                    # optional: the models are experts of this one
search: {method: natural-niches, population: 20, alpha: 1.0}
splits: {preset: default}
subset: {samples: 32, every: 100}        # optional: score children on a few search samples at a time
budget: {evaluations: 20000}
then: {genome: …, search: …, budget: …}  # optional: go on from the winner, as hybrid search does
output: {dtype: bfloat16, donor: a/}     # optional, of merges by rule: what they are written as
seed: 0
workers: 2               # processes that score children; `time_limit: 600` stops one that hangs
```

Unknown keys are refused with the nearest right one. These classes are also the Python form of the same thing.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from merganser._errors import ConfigError
from merganser._settings_file import checked, read_yaml
from merganser.evaluation import LmEvalSettings

Method = Literal["natural-niches", "ga", "map-elites", "nsga2", "cma-es", "cat-cma", "random", "brute-force"]
METHODS: tuple[str, ...] = get_args(Method)

_OTHER_NAMES = {"nsga-ii": "nsga2", "NSGA-II": "nsga2", "catcma": "cat-cma", "CatCMAwM": "cat-cma"}
"""How others write the names of searches."""

_STRICT = ConfigDict(extra="forbid")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, config=_STRICT)
class GenomeSettings:
    """What evolves.

    Attributes:
        kind: `combination` (exact lineage of given models), `dense` (the vector itself), `recipe` (a merge by rule),
            `path` (a way through the blocks of given models), or `auto`: dense from scratch, a recipe where a `method`
            is named, combination otherwise.
        rule: Interpolate on an arc (`slerp`) or a line (`linear`).
        angles: One angle between whole models (`whole`, the authors' code) or one on each side of a split
            (`sides`, the paper's equation 2).
        mutation: Standard deviation of the noise on every coordinate of a dense child; of experts, on the logarithm of
            every scale.
        bands: Of dense experts: into how many bands the singular directions of each matrix are divided, whose scales
            change together; by default each changes by itself.
        hidden: Widths of the hidden layers of a network from scratch.
        network: `module:function` that returns a torch module, for models that are not plain layers.
        method: Of a recipe: the merge method.
        base: Of a recipe: the model that the others were tuned from, where the method needs one.
        genes: Of a recipe: parameters to search, with their bounds, or null for the usual ones.
        shared: Of a recipe: those among them with one gene for all models, where the method takes one value for each.
        groups: Of a recipe: which tensors have genes of their own: all the same (`whole`), those of each block, the
            embeddings and the head (`layer`), attention, MLP, embeddings and head (`component`), each one (`tensor`),
            or by parts of names, `{attention: [to_k., to_q.], …}`, and the rest.
        parameters: Of a recipe: other parameters of the method; a list has one value for each model.
        chromosomes: Of combinations: tensors that are split independently in crossover: all at once (`whole`), by
            `component`, or by parts of names, as groups are.
        repeats: Of a path: how often the row of all blocks stands in the list it is chosen from.
        scales: Of a path: what is multiplied from block to block: nothing (`none`), a number for every pair of blocks
            (`matrix`), or what a small network says of the pair (`network`).
        unit: Of a path: the logarithm of the scale that a number of 1 stands for.
        scaling: Of a path: what scales multiply: the whole hidden state (`state`, the paper) or what the last MLP hands
            over (`handed`, the authors' server).
        lead: Of a path: how far from the first model's own path others begin, in standard deviations of a switch.
    """

    kind: Literal["auto", "combination", "dense", "recipe", "path"] = "auto"
    rule: Literal["slerp", "linear"] = "slerp"
    angles: Literal["whole", "sides"] = "whole"
    mutation: Annotated[float, Field(ge=0)] = 0.01
    bands: Annotated[int, Field(ge=1)] | None = None
    hidden: tuple[Annotated[int, Field(gt=0)], ...] = (256,)
    network: str | None = None
    method: str | None = None
    base: str | None = None
    genes: dict[str, tuple[float, float] | None] = Field(default_factory=dict)
    shared: tuple[str, ...] = ()
    groups: Literal["whole", "layer", "component", "tensor"] | dict[str, tuple[str, ...]] = "whole"
    parameters: dict[str, bool | int | float | str | tuple[float, ...]] = Field(default_factory=dict)
    chromosomes: Literal["whole", "component"] | dict[str, tuple[str, ...]] = "whole"
    repeats: Annotated[int, Field(ge=1)] = 3
    scales: Literal["none", "matrix", "network"] = "network"
    unit: Annotated[float, Field(gt=0)] = 0.05
    scaling: Literal["state", "handed"] = "state"
    lead: Annotated[float, Field(gt=0)] = 2.0

    @property
    def is_recipe(self) -> bool:
        """Whether genomes are merges by rule."""
        return self.kind == "recipe" or (self.kind == "auto" and self.method is not None)


@dataclass(frozen=True, config=_STRICT)
class AdaptSettings:
    """That the models are experts, as `save_expert` writes them.

    Attributes:
        base: The model that they were trained on. Where `models` names it too, it is the expert that changes nothing.
        cache: Folder that keeps its decomposition; by default each process decomposes it when it begins.
    """

    base: str
    cache: str | None = None


@dataclass(frozen=True, config=_STRICT)
class SearchSettings:
    """How to search.

    Attributes:
        method: `natural-niches` (M2N2), `ga`, `map-elites`, `nsga2`, `cma-es`, `cat-cma` (CatCMA with margin, for
            paths), `random` or `brute-force`.
        population: Size of the archive, or of a generation; by default 20, and of `cma-es` over the genes of a recipe
            or over paths, and of `cat-cma`, 4 + 3 ln n, as the libraries have it.
        alpha: How strongly crowding is punished; 0 in a GA.
        epsilon: Added to the crowding of each sample.
        attraction: Choose mates by what they add.
        split_point: Other weights on each side of a random split.
        crossover: Two parents per child.
        early_rejection: Stop scoring a child once its fate is certain; the result is the same.
        warmup: Random seed-with-seed merges before the search proper.
        steps: Points on the grid of `brute-force`.
        bins: Cells per axis of `map-elites`.
        axes: Of `map-elites`: names of the two tasks whose mean scores are its axes. Without it both of two tasks, and
            of one task its odd and its even classes.
        covariance: Of `cma-es`: `full`, `diagonal`, or by size.
        restarts: Of `cma-es`: how often to begin again, with twice the population, where it has converged.
        tie_breaker: Of `cma-es`: order candidates of equal score by how nearly right they were, where the task knows.
    """

    method: Annotated[Method, BeforeValidator(lambda name: _OTHER_NAMES.get(name, name))] = "natural-niches"
    population: Annotated[int, Field(gt=0)] | None = None
    alpha: Annotated[float, Field(ge=0)] = 1.0
    epsilon: Annotated[float, Field(ge=0)] = 0.0
    attraction: bool = True
    split_point: bool = True
    crossover: bool = True
    early_rejection: bool = True
    warmup: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int, Field(ge=2)] = 1001
    bins: Annotated[int, Field(gt=0)] = 10
    axes: tuple[str, str] | None = None
    covariance: Literal["auto", "full", "diagonal"] = "auto"
    restarts: Annotated[int, Field(ge=0)] = 9
    tie_breaker: bool = True


@dataclass(frozen=True, config=_STRICT)
class TaskSettings:
    """One of several tasks.

    Attributes:
        task: Task reference, as `evaluation.open_task` takes it: `digits`, arrays, a file of questions, a task file,
            or `module:function`.
        weight: How much it counts.
        lm_eval: Of a task `lm-eval:NAME`: metric, examples, template, limit.
    """

    task: str
    weight: Annotated[float, Field(gt=0)] = 1.0
    lm_eval: LmEvalSettings | None = None


@dataclass(frozen=True, config=_STRICT)
class SplitSettings:
    """How samples are divided.

    Attributes:
        preset: `default`, or `paper`: no validation, the best search score is reported.
        validation: Fraction of the training data for validation.
        test: Fraction of everything for the test, where the data have no test set.
        seed: Another seed divides differently.
    """

    preset: Literal["default", "paper"] = "default"
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: int = 0


@dataclass(frozen=True, config=_STRICT)
class SubsetSettings:
    """Search samples that children are scored on, a few at a time.

    Attributes:
        samples: Most samples that a child is scored on: the search split is divided into the fewest equal subsets that
            are no larger.
        every: Children after which the subset is another one; of `cma-es` rounded up to whole generations.
    """

    samples: Annotated[int, Field(gt=0)]
    every: Annotated[int, Field(gt=0)] = 100


@dataclass(frozen=True, config=_STRICT)
class OutputSettings:
    """What merges by rule are written as.

    Attributes:
        dtype: Element type of all merged tensors, such as `bfloat16`; by default the donor's, tensor by tensor.
        tokenizer: Whose tokens they have, where the models' differ: `union`, `base` or one of the models; by default
            the donor's.
        donor: The model that gives configuration and tokenizer: one of the models, or `base`; by default the base, or
            else the first.
    """

    dtype: str | None = None
    tokenizer: str | None = None
    donor: str | None = None


@dataclass(frozen=True, config=_STRICT)
class Budget:
    """When to stop; whichever comes first.

    Attributes:
        evaluations: Candidates scored, seeds included.
        seconds: Time spent, over all sittings of the run.
    """

    evaluations: Annotated[int, Field(gt=0)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None

    @classmethod
    def parse(cls, text: str | int | Budget | None) -> Budget:
        """A budget from `20000` (evaluations), `90s`, `10m` or `2h`; None is 20,000 evaluations.

        Raises:
            ConfigError: If it is none of them.

        Examples:
            >>> Budget.parse("1.5m").seconds
            90.0
        """
        if text is None:
            return cls(evaluations=20_000)
        if isinstance(text, Budget):
            return text
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", str(text))
        if match is None or float(match[1]) <= 0 or (not match[2] and "." in match[1]):
            raise ConfigError(
                f"Expected a budget such as 20000 (evaluations), 90s, 10m or 2h, but found {text!r}."
            )
        if match[2]:
            return cls(seconds=float(match[1]) * _UNITS[match[2]])
        return cls(evaluations=int(match[1]))


@dataclass(frozen=True, config=_STRICT)
class NextSettings:
    """A second search that begins with the winner of the first one: hybrid search, where it is one for paths.

    Its models are the winner and then the first search's models; all that is not said here is as in the first, but
    baselines are the first one's only.

    Attributes:
        genome: What evolves.
        search: How to search.
        budget: When to stop.
    """

    genome: GenomeSettings = GenomeSettings()
    search: SearchSettings = SearchSettings()
    budget: Budget = Budget(evaluations=20_000)


@dataclass(frozen=True, config=_STRICT)
class EvolveSettings:
    """An evolve file.

    Attributes:
        version: Version of the format: 1.
        models: Paths of checkpoints, or `scratch` (random networks), or `specialists` (two networks trained on
            the spot on half of the classes each).
        task: Task reference; or use `tasks`.
        tasks: Several tasks with weights.
        watch: Task references that are scored at the end, for the winner and every parent, and never selected on: what
            was gained or lost beside the aim.
        baselines: Merge methods to compare with, such as `linear`, `task_arithmetic`, `ties`: with their defaults,
            scored on every split at the end.
        adapt: The base of experts, where `models` are such.
        genome: What evolves.
        search: How to search.
        splits: How samples are divided.
        subset: Score children on a few search samples at a time, others after a while; None scores them on all.
        budget: When to stop.
        then: Another search, from the winner and the models.
        output: Of merges by rule: what they are written as.
        seed: Seed of everything random.
        workers: Children scored at the same time, each in a process of its own. Child k sees the scores of those up
            to k - workers, so the number is part of what decides the result; the order of arrival is not.
        time_limit: Seconds that scoring a child on a block of samples may take; a child that takes longer has failed.
        device: Where language models live: cpu, cuda, mps.
        dtype: Element type in which they are scored; by default their own. The winner is written in theirs, or as
            `output` says, either way.
    """

    version: Literal[1] = 1
    models: Literal["scratch", "specialists"] | tuple[str, ...] = "scratch"
    task: str | None = None
    tasks: tuple[TaskSettings, ...] = ()
    watch: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    adapt: AdaptSettings | None = None
    genome: GenomeSettings = GenomeSettings()
    search: SearchSettings = SearchSettings()
    splits: SplitSettings = SplitSettings()
    subset: SubsetSettings | None = None
    budget: Budget = Budget(evaluations=20_000)
    then: NextSettings | None = None
    output: OutputSettings = OutputSettings()
    seed: int = 0
    workers: Annotated[int, Field(ge=1)] = 1
    time_limit: Annotated[float, Field(gt=0)] | None = None
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] | None = None

    @property
    def uses_workers(self) -> bool:
        """Whether children are scored in processes of their own: several, or one that may have to be stopped."""
        return self.workers > 1 or self.time_limit is not None

    def to_json(self) -> dict[str, Any]:
        """Plain form of all settings."""
        return TypeAdapter(EvolveSettings).dump_python(self, mode="json")

    @property
    def weighted_tasks(self) -> tuple[TaskSettings, ...]:
        """The tasks, whether one or several were given.

        Raises:
            ConfigError: If there is none, or both `task` and `tasks`.
        """
        if (self.task is None) == (not self.tasks):
            raise ConfigError("Give either `task:` or `tasks:`, for example `task: digits`.")
        return self.tasks or (TaskSettings(str(self.task)),)


def parse_settings(data: Any, source: str = "settings") -> EvolveSettings:
    """Settings from plain data.

    Raises:
        ConfigError: If a key is unknown (the nearest right one is named) or a value is wrong.
    """
    return checked(EvolveSettings, data, source, example="task: digits", sections=_SECTIONS)


def read_settings(path: Path | str) -> EvolveSettings:
    """Settings from a YAML file; relative paths of models and tasks are taken from where the file lies.

    Raises:
        ConfigError: If it cannot be read, is no YAML, or holds wrong settings.
    """
    return _resolved(parse_settings(read_yaml(path), str(path)), Path(path).parent)


def settings_schema() -> dict[str, Any]:
    """JSON Schema of the evolve file, for editors."""
    return TypeAdapter(EvolveSettings).json_schema()


def _resolved(settings: EvolveSettings, folder: Path) -> EvolveSettings:
    def resolve(reference: str) -> str:
        beside = folder / reference
        return str(beside) if not Path(reference).is_absolute() and beside.exists() else reference

    models = settings.models if isinstance(settings.models, str) else tuple(map(resolve, settings.models))
    tasks = tuple(dataclasses.replace(t, task=resolve(t.task)) for t in settings.tasks)
    watch = tuple(map(resolve, settings.watch))
    task = None if settings.task is None else resolve(settings.task)
    base = None if settings.genome.base is None else resolve(settings.genome.base)
    genome = dataclasses.replace(settings.genome, base=base)
    adapt = settings.adapt
    if adapt is not None:
        cache = None if adapt.cache is None else str(folder / Path(adapt.cache).expanduser())
        adapt = AdaptSettings(resolve(adapt.base), cache)
    said = {"donor": settings.output.donor, "tokenizer": settings.output.tokenizer}
    places = {key: resolve(place) for key, place in said.items() if place not in (None, "union")}
    output = dataclasses.replace(settings.output, **places)
    return dataclasses.replace(
        settings,
        models=models,
        task=task,
        tasks=tasks,
        watch=watch,
        adapt=adapt,
        genome=genome,
        output=output,
    )


_SECTIONS: dict[str, type] = {
    "adapt": AdaptSettings,
    "genome": GenomeSettings,
    "search": SearchSettings,
    "splits": SplitSettings,
    "subset": SubsetSettings,
    "budget": Budget,
    "then": NextSettings,
    "output": OutputSettings,
    "tasks": TaskSettings,
}
