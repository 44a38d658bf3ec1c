"""Training of experts: by the task's own grades, or from its right answers; killed, it goes on.

| names | what |
| --- | --- |
| [`train`][], [`Trained`][], [`TestScores`][] | from base and task to a folder with the best expert |
| [`Training`][], [`PRESETS`][] | how |
| [`Svf`][], [`Lora`][], [`Full`][], [`Adapter`][], [`ADAPTERS`][] | what is trained |
| [`Row`][], [`read_history`][], [`looks`][] | what happened step by step |
| [`read_training`][] | what a training's folder says of it |

References:
    Sun et al., *Transformer²: Self-Adaptive LLMs*, ICLR 2025, https://arxiv.org/abs/2501.06252
"""

from merganser._training_folder import read_training
from merganser.adaptation.training._adapters import ADAPTERS, Adapter, Full, Lora, Svf
from merganser.adaptation.training._history import Row, looks, read_history
from merganser.adaptation.training._settings import PRESETS, Training
from merganser.adaptation.training._train import TestScores, Trained, train

__all__ = [
    "ADAPTERS",
    "PRESETS",
    "Adapter",
    "Full",
    "Lora",
    "Row",
    "Svf",
    "TestScores",
    "Trained",
    "Training",
    "looks",
    "read_history",
    "read_training",
    "train",
]
