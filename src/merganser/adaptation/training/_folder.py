"""A training as a folder.

| name | what |
| --- | --- |
| `training.json` | what is trained on what and how; once it is over, what came of it |
| `history.jsonl` | a line for each step |
| `checkpoint/` | the last checkpoint |
| `expert.safetensors`, `adapter/` or `model/` | the best expert, LoRA adapter of PEFT, or model |
| `report.html` | all of it as pictures, if the command made it |
"""

from __future__ import annotations

EXPERT_NAME, ADAPTER_NAME, MODEL_NAME = "expert.safetensors", "adapter", "model"
