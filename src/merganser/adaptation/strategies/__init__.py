"""A model that chooses its expert for each request: the three strategies of Transformer².

| names | what |
| --- | --- |
| [`AdaptiveModel`][], [`Specialist`][] | base, experts and a strategy: a language model like others |
| [`Strategy`][]: [`Fixed`][], [`ByPrompt`][], [`ByExpert`][], [`Mixture`][] | who answers which request |
| [`DispatchPrompt`][], [`Read`][], [`TEMPLATES`][] | what the first pass asks, and how its answer is read |
| [`Decision`][], [`Trace`][], [`Cost`][], [`OTHER`][] | who answered, and what each pass cost |
| [`search_mixture`][], [`MixtureSearch`][], [`CrossEntropy`][] | weights of a mixture, from a few examples |
| [`MixtureFound`][], [`Generation`][], [`Standing`][] | what a search found |
| [`write_dispatch_task`][] | a task to train a dispatcher on |
| [`confusion_of`][], [`Confusion`][] | whom requests were for, and who answered |
| [`read_adaptive_file`][], [`AdaptiveFile`][], [`ExpertSettings`][] | base and experts as people write them down |
| [`save_adaptive`][], [`open_adaptive`][], [`is_adaptive`][] | an adaptive model as a folder |

References:
    Sun et al., *Transformer²: Self-Adaptive LLMs*, ICLR 2025, https://arxiv.org/abs/2501.06252
"""

from merganser.adaptation.strategies._adaptive_file import (
    AdaptiveFile,
    ExpertSettings,
    read_adaptive_file,
)
from merganser.adaptation.strategies._cem import CrossEntropy
from merganser.adaptation.strategies._confusion import Confusion, confusion_of
from merganser.adaptation.strategies._decision import OTHER, Cost, Decision, Trace
from merganser.adaptation.strategies._dispatch_task import write_dispatch_task
from merganser.adaptation.strategies._folder import is_adaptive, open_adaptive, save_adaptive
from merganser.adaptation.strategies._found import Generation, MixtureFound, MixtureSearch, Standing
from merganser.adaptation.strategies._model import AdaptiveModel
from merganser.adaptation.strategies._prompt import TEMPLATES, DispatchPrompt, Read
from merganser.adaptation.strategies._search import search_mixture
from merganser.adaptation.strategies._specialist import Specialist
from merganser.adaptation.strategies._strategies import ByExpert, ByPrompt, Fixed, Mixture, Strategy

__all__ = [
    "OTHER",
    "TEMPLATES",
    "AdaptiveFile",
    "AdaptiveModel",
    "ByExpert",
    "ByPrompt",
    "Confusion",
    "Cost",
    "CrossEntropy",
    "Decision",
    "DispatchPrompt",
    "ExpertSettings",
    "Fixed",
    "Generation",
    "Mixture",
    "MixtureFound",
    "MixtureSearch",
    "Read",
    "Specialist",
    "Standing",
    "Strategy",
    "Trace",
    "confusion_of",
    "is_adaptive",
    "open_adaptive",
    "read_adaptive_file",
    "save_adaptive",
    "search_mixture",
    "write_dispatch_task",
]
