"""An experts file: base, experts and how requests come to them.

    base: path/to/model
    experts:
      maths: {file: maths.safetensors, description: calculations and formulas, task: maths.jsonl}
      code: {file: code.safetensors, description: programming, task: code.jsonl}
    other: chat.jsonl
    dispatcher: dispatch.safetensors

Only `base` and the experts' files are needed. Paths are looked for where the file lies. Tasks are for training a
dispatcher; without one the base is asked.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from merganser._errors import ConfigError
from merganser._settings_file import checked, read_yaml
from merganser.adaptation._expert_file import open_expert
from merganser.adaptation.strategies._prompt import DispatchPrompt
from merganser.adaptation.strategies._specialist import Specialist
from merganser.adaptation.strategies._strategies import ByExpert, ByPrompt, Strategy

DISPATCHER = "dispatcher"
"""What the dispatcher of a file is called among the experts."""
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class ExpertSettings:
    """An expert.

    Attributes:
        file: Its file.
        description: What requests it is for, in one sentence.
        task: Requests that are for it, to train a dispatcher.
    """

    file: str
    description: str = ""
    task: str | None = None


@dataclass(frozen=True, config=_STRICT)
class AdaptiveFile:
    """What an experts file says.

    Attributes:
        base: The base.
        experts: Experts by name.
        other: Requests that are for none of them, to train a dispatcher.
        dispatcher: File of an expert that was trained to dispatch.
        prompt: What the first pass asks.
    """

    base: str
    experts: dict[str, ExpertSettings]
    other: str | None = None
    dispatcher: str | None = None
    prompt: DispatchPrompt = dataclasses.field(default_factory=DispatchPrompt)

    @property
    def strategy(self) -> Strategy:
        """The dispatcher is asked, if there is one; else the base."""
        return ByPrompt(self.prompt) if self.dispatcher is None else ByExpert(DISPATCHER, self.prompt)

    @property
    def descriptions(self) -> dict[str, str]:
        """What each expert is for."""
        return {name: each.description for name, each in self.experts.items()}

    def specialists(self) -> dict[str, Specialist]:
        """The experts, opened; the dispatcher is one more.

        Raises:
            CheckpointError: If a file cannot be read.
        """
        found = {n: Specialist(open_expert(e.file), e.description) for n, e in self.experts.items()}
        if self.dispatcher is not None:
            found[DISPATCHER] = Specialist(open_expert(self.dispatcher))
        return found


def read_adaptive_file(path: str | Path) -> AdaptiveFile:
    """An experts file from YAML; paths in it become paths from here.

    Raises:
        ConfigError: If it cannot be read, is no YAML, or holds wrong settings.
    """
    sections = {"prompt": DispatchPrompt, "experts": ExpertSettings}
    example = "experts: {maths: {file: maths.safetensors}}"
    file = checked(AdaptiveFile, read_yaml(path), str(path), example=example, sections=sections)
    if not file.experts or DISPATCHER in file.experts:
        raise ConfigError(
            f"{path}: `experts` needs at least one, none of them called {DISPATCHER!r}, for example `{example}`."
        )
    folder = Path(path).expanduser().parent

    def near(reference: str) -> str:
        beside = folder / reference
        return str(beside) if beside.exists() else reference

    def maybe(reference: str | None) -> str | None:
        return None if reference is None else near(reference)

    experts = {
        name: dataclasses.replace(each, file=near(each.file), task=maybe(each.task))
        for name, each in file.experts.items()
    }
    return dataclasses.replace(
        file,
        base=near(file.base),
        experts=experts,
        other=maybe(file.other),
        dispatcher=maybe(file.dispatcher),
    )
