"""Training of thought machines on tasks that need nothing but themselves; killed, it goes on bit for bit.

| names | what |
| --- | --- |
| [`train_thinking`][], [`ThinkingTrained`][] | from a task and a configuration to a folder with a model |
| [`open_thinking`][] | what a folder holds of one that is over |
| [`train_seeds`][], [`SeedTrained`][], [`spreads`][], [`spread`][], [`Spread`][] | the same with several seeds |
| [`ThinkingTraining`][] | how |
| [`Parity`][], [`Digits`][], [`Fashion`][], [`MazeRoutes`][], [`MazeFiles`][] | on what |
| [`TASKS`][], [`task_named`][] | by name |
| [`ThinkingScores`][], [`thinking_splits`][], [`open_thinking_splits`][] | a task as searches take it |
| [`ThinkingTask`][], [`Samples`][] | what a task is |
| [`ThinkingRow`][], [`looks`][] | what happened step by step |

The folder:

| name | what |
| --- | --- |
| `training.json` | what is trained on what and how; once it is over, what came of it |
| `history.jsonl` | a line for each step |
| `checkpoint/` | the last checkpoint: tensors as safetensors, the rest as JSON |
| `model/` | the model |
| `report.html` | all of it as pictures, if the command made it |

With several seeds each is such a folder, `seed-0`, `seed-1` and so on, beside a page that shows them together.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, https://arxiv.org/abs/2505.05522
"""

from merganser.thinking.training._digits import Digits
from merganser.thinking.training._fashion import Fashion
from merganser.thinking.training._maze_files import MazeFiles
from merganser.thinking.training._maze_routes import MazeRoutes
from merganser.thinking.training._open import open_thinking
from merganser.thinking.training._parity import Parity
from merganser.thinking.training._row import ThinkingRow, looks
from merganser.thinking.training._scores import (
    ThinkingScores,
    open_thinking_splits,
    thinking_splits,
)
from merganser.thinking.training._seeds import SeedTrained, Spread, spread, spreads, train_seeds
from merganser.thinking.training._settings import ThinkingTraining
from merganser.thinking.training._task import Samples, ThinkingTask
from merganser.thinking.training._tasks import TASKS, task_named
from merganser.thinking.training._train import ThinkingTrained, train_thinking

__all__ = [
    "TASKS",
    "Digits",
    "Fashion",
    "MazeFiles",
    "MazeRoutes",
    "Parity",
    "Samples",
    "SeedTrained",
    "Spread",
    "ThinkingRow",
    "ThinkingScores",
    "ThinkingTask",
    "ThinkingTrained",
    "ThinkingTraining",
    "looks",
    "open_thinking",
    "open_thinking_splits",
    "spread",
    "spreads",
    "task_named",
    "thinking_splits",
    "train_seeds",
    "train_thinking",
]
