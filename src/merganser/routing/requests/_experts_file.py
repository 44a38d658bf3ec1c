"""An experts file: who may answer, under which contract, and how the router is fitted.

    contracts:
      mood: {kind: classification, labels: [good, bad], seconds: 5}
    experts:
      - {name: rules, function: "rules:mood", contract: mood, cost: 0}
      - {name: small, model: path/to/model, contract: mood, cost: 1}
      - {name: large, endpoint: {url: "https://host/v1", model: large, key: HOST_KEY}, contract: mood, token_cost: 0.01}
    router: {kind: auto}
    fallback: [large]

Paths of models and modules of functions are looked for where the file lies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from merganser._errors import ConfigError
from merganser._settings_file import checked, read_yaml

_STRICT = ConfigDict(extra="forbid")
_EXAMPLE = "experts: [{name: small, model: path/to/model, contract: mood}]"
_Share = Annotated[float, Field(ge=0, le=1)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Positive = Annotated[int, Field(gt=0)]

Predicted = Literal["auto", "classifier", "nearest", "tasks"]
"""What predicts scores."""

Kind = Literal["classification", "extraction", "question_answering", "code"]


@dataclass(frozen=True, config=_STRICT)
class ContractSettings:
    """A contract by its shape; what is not given is as the shape has it.

    Attributes:
        kind: Its shape.
        labels: Of a classification.
        fields: Of an extraction: kind of each.
        language: Of code.
        instructions: What is asked.
        prompt: The whole prompt, with the fields of the input in braces.
        good_at: What it is for, in words.
        seconds: Longest time of one ask.
        max_tokens: Most tokens of an answer.
        stop: Texts that end an answer.
        retries: How often an expert is asked again after a broken contract.
    """

    kind: Kind
    labels: tuple[str, ...] | None = None
    fields: dict[str, str] | None = None
    language: str | None = None
    instructions: str = ""
    prompt: str | None = None
    good_at: str = ""
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    max_tokens: _Positive = 256
    stop: tuple[str, ...] = ()
    retries: Annotated[int, Field(ge=0, le=9)] = 1


@dataclass(frozen=True, config=_STRICT)
class EndpointSettings:
    """A service that speaks OpenAI's chat protocol.

    Attributes:
        url: Address up to the version.
        model: Name of the model there.
        key: Environment variable that holds the key.
    """

    url: str
    model: str
    key: str | None = None


@dataclass(frozen=True, config=_STRICT)
class ExpertSettings:
    """An expert; one of `function`, `model` and `endpoint` says how it is asked.

    Attributes:
        name: What people call it.
        contract: Name of its contract.
        function: `module:function`, from prompt to answer.
        model: Reference of a local model.
        endpoint: A service.
        cost: Price of a request.
        token_cost: Price of a token of its answers.
    """

    name: str
    contract: str
    function: str | None = None
    model: str | None = None
    endpoint: EndpointSettings | None = None
    cost: _Price = 0.0
    token_cost: _Price = 0.0


@dataclass(frozen=True, config=_STRICT)
class RouterSettings:
    """How a router is fitted.

    Attributes:
        kind: `classifier`: calibrated probability of solving, for each expert; `nearest`: mean score on the nearest
            samples; `tasks`: mean score on the task that a request looks like; `auto`: whichever predicts validation
            scores best (Brier score).
        embedding: `hashed`, or the reference of a local model whose mean hidden state is taken.
        neighbours: For `nearest`: how many; by default what predicts validation scores best.
        calibration: For `classifier`: `auto` is isotonic from 1,000 samples on, else Platt's sigmoid.
        price: Score that one unit of cost must bring.
        budget: Mean cost of a request instead: the smallest price that keeps it on validation is taken.
        threshold: Abstain where the best predicted score is below.
        accuracy: Mean score of what is answered instead: the smallest threshold that keeps it on validation is taken.
        seed: Key of what is divided at random.
    """

    kind: Predicted = "auto"
    embedding: str = "hashed"
    neighbours: _Positive | None = None
    calibration: Literal["auto", "platt", "isotonic", "none"] = "auto"
    price: _Price = 0.0
    budget: _Price | None = None
    threshold: _Share = 0.0
    accuracy: _Share | None = None
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, config=_STRICT)
class ExpertsFile:
    """What an experts file says.

    Attributes:
        experts: Who may answer.
        contracts: Contracts by name.
        router: How the router is fitted.
        fallback: Who is asked, in order, where nobody else has answered or the router abstains.
        most_experts: How many of the others are asked at most.
        memory_gib: Most memory for weights of local models together; null for no cap.
        device: Where local models live.
        dtype: Element type that local models compute in.
        folder: Where paths and modules are looked for.
    """

    experts: Annotated[tuple[ExpertSettings, ...], Field(min_length=1)]
    contracts: dict[str, ContractSettings]
    router: RouterSettings = RouterSettings()
    fallback: tuple[str, ...] = ()
    most_experts: _Positive = 3
    memory_gib: Annotated[float, Field(gt=0)] | None = 4.0
    device: str = "cpu"
    dtype: str | None = None
    folder: str = "."


def read_experts_file(path: str | Path) -> ExpertsFile:
    """What an experts file says.

    Raises:
        ConfigError: If it cannot be read, or something in it is wrong.
    """
    path = Path(path).expanduser()
    data = read_yaml(path)
    if isinstance(data, dict):
        data = {**data, "folder": str((path.parent / str(data.get("folder", "."))).absolute())}
    return parse_experts_file(data, str(path))


def parse_experts_file(data: Any, source: str = "the experts file") -> ExpertsFile:
    """An experts file from plain data.

    Args:
        data: What the file holds.
        source: What to call it in messages.

    Raises:
        ConfigError: If something in it is wrong.
    """
    sections = {
        "experts": ExpertSettings,
        "contracts": ContractSettings,
        "router": RouterSettings,
    }
    file = checked(ExpertsFile, data, source, example=_EXAMPLE, sections=sections)
    names = [expert.name for expert in file.experts]
    for expert in file.experts:
        ways = [way for way in ("function", "model", "endpoint") if getattr(expert, way) is not None]
        if len(ways) != 1:
            said = " and ".join(ways) or "none of them"
            raise ConfigError(
                f"{source}: expert {expert.name!r} needs one of function, model and endpoint, found {said}."
            )
        if expert.contract not in file.contracts:
            known = ", ".join(file.contracts) or "none"
            raise ConfigError(
                f"{source}: expert {expert.name!r} names the contract {expert.contract!r}; there are: {known}."
            )
    if len(set(names)) < len(names):
        raise ConfigError(f"{source}: every expert needs a name of its own, found {', '.join(names)}.")
    if unknown := [name for name in file.fallback if name not in names]:
        raise ConfigError(
            f"{source}: `fallback` names {', '.join(unknown)}, but the experts are {', '.join(names)}."
        )
    return file


def experts_facts(file: ExpertsFile) -> dict[str, Any]:
    """An experts file as plain data, which `parse_experts_file` reads."""
    return TypeAdapter(ExpertsFile).dump_python(file, mode="json")
