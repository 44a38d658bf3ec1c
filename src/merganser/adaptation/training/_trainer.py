"""A trainer of TRL, set up for an adapter and settings."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from merganser.adaptation._peft import register_with_peft
from merganser.adaptation.training._adapters import Adapter, Full, Lora, Svf
from merganser.adaptation.training._lessons import Lessons
from merganser.adaptation.training._settings import Training
from merganser.evaluation import GenerativeTask
from merganser.models import LanguageModel, linear_layers
from merganser.weights import Checkpoint


def make_trainer(
    model: LanguageModel,
    base: Checkpoint,
    task: GenerativeTask,
    adapter: Adapter,
    settings: Training,
    folder: Path,
) -> Any:
    """A trainer of TRL whose model is a live one with an adapter put in: what that answers from now on is trained.

    Args:
        model: The live base, which is taken over.
        base: Its checkpoint.
        task: What is trained on.
        adapter: What is trained.
        settings: How.
        folder: Where checkpoints go.
    """
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.rloo_config import RLOOConfig
    from trl.trainer.utils import add_fused_lm_head

    from merganser.adaptation.training._trainers import GrpoWithLessons, RlooWithLessons

    lessons = Lessons(model, task, settings)
    rows = Dataset.from_dict({"prompt": [str(position) for position in lessons.order()]})
    is_full = isinstance(adapter, Full)
    reference: Any = copy.deepcopy(model.module) if is_full and settings.kl else None
    if is_full:
        model.module.requires_grad_(True)
    is_group = settings.baseline == "group"
    kind: Any = GrpoWithLessons if is_group else RlooWithLessons
    arguments = _arguments(model, adapter, settings, folder)
    config = GRPOConfig(**arguments) if is_group else RLOOConfig(**arguments)
    config.num_generations = settings.rollouts
    config.per_device_train_batch_size = config.generation_batch_size = settings.prompts * settings.rollouts

    def reward(**asked: Any) -> list[float]:
        return trainer.reward(**asked)

    trainer = kind(
        model=model.module,
        reward_funcs=reward,
        args=config,
        train_dataset=rows,
        processing_class=model.tokens.tokenizer,
        peft_config=None if is_full else peft_config(adapter, model, base),
    )
    trainer.lessons, trainer.settings = lessons, settings
    if reference is not None:
        add_fused_lm_head(reference, temperature=trainer.temperature)
        trainer.ref_model = reference
    return trainer


def peft_config(adapter: Svf | Lora, model: LanguageModel, base: Checkpoint) -> Any:
    """What PEFT is told of an adapter.

    Raises:
        ValueError: If a chosen matrix is no linear layer of the module.
    """
    wanted = set(adapter.matrices(base))
    modules = [
        layer.name.removesuffix(".weight")
        for layer in linear_layers(model.module)
        if any(name in wanted for name in model.names.get(layer.name, ()))
    ]
    if len(modules) != len(wanted):
        raise ValueError(
            f"{len(wanted)} matrices of {base.source} were chosen, but {len(modules)} of them are linear layers of "
            f"{type(model.module).__name__}. Choose others."
        )
    if isinstance(adapter, Svf):
        return register_with_peft()(
            task_type="CAUSAL_LM",
            target_modules=modules,
            parametrisation=adapter.parametrisation,
            rank=adapter.rank,
        )
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        target_modules=modules,
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=0.0,
    )


def _arguments(model: LanguageModel, adapter: Adapter, settings: Training, folder: Path) -> dict[str, Any]:
    rollouts = max(2, settings.rollouts)  # fewer are refused where the configuration is made
    rate = adapter.learning_rate if settings.learning_rate is None else settings.learning_rate
    return {
        "output_dir": str(folder),
        "max_steps": settings.steps,
        "per_device_train_batch_size": settings.prompts * rollouts,
        "num_generations": rollouts,
        "learning_rate": rate,
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch",  # without decay it is Adam
        "weight_decay": 0.0,
        "max_grad_norm": settings.clip,
        "beta": 0.0 if isinstance(adapter, Full) else settings.kl,
        "temperature": settings.temperature or 1.0,
        "seed": settings.seed,
        "shuffle_dataset": False,  # the rows have their order
        "disable_dropout": True,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": model.device.type == "cpu",
        "save_strategy": "no",  # checkpoints are made when somebody asks for them
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": [],
        "disable_tqdm": True,
    }
