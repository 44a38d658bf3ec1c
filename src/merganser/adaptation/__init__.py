"""One model, many experts of a few kilobytes: singular value fine-tuning (SVF) of Transformer².

| names | what |
| --- | --- |
| [`choose_matrices`][] | which matrices are adapted: by component, layer, module |
| [`decompose`][], [`Decomposition`][] | their singular value decompositions, kept in a folder |
| [`Factors`][], [`factorise`][], [`matrix_digest`][] | that of one matrix, and what names its numbers |
| [`ExpertVector`][], [`Fact`][] | an expert: one number for each singular direction |
| [`save_expert`][], [`open_expert`][], [`is_expert`][] | as a file |
| [`scales`][], [`identity`][] | what singular values are multiplied with; the expert that changes nothing |
| [`adapted_digests`][] | of the matrices that experts adapt, compared with a base's |
| [`PARAMETRISATIONS`][], [`Parametrisation`][], [`gains_of`][] | what is trained, and what follows from it |
| [`mix`][], [`merge_experts`][] | several experts as one: a weighted sum, or any method of merging |
| [`scale_checkpoints`][] | several experts as models that fit each other: to compare, merge, evolve |
| [`fold`][] | base and expert as a checkpoint, computed when read |
| [`attach`][], [`AdaptedModel`][] | experts in a live module: by name, mixed, one for each request, trained |
| [`register_with_peft`][], [`expert_from_peft`][] | the same as a tuner of PEFT, and back |
| [`as_lora`][], [`LoraConversion`][] | as an adapter of PEFT, and what is lost |

Which expert answers which request: `merganser.adaptation.strategies`.

References:
    Sun et al., *Transformer²: Self-Adaptive LLMs*, ICLR 2025, https://arxiv.org/abs/2501.06252
"""

from merganser.adaptation._attach import AdaptedModel, attach
from merganser.adaptation._choose import choose_matrices
from merganser.adaptation._decomposition import Decomposition, decompose
from merganser.adaptation._expert import ExpertVector, Fact, adapted_digests, identity, scales
from merganser.adaptation._expert_file import is_expert, open_expert, save_expert
from merganser.adaptation._factors import Factors, factorise, matrix_digest
from merganser.adaptation._fold import fold
from merganser.adaptation._lora import LoraConversion, as_lora
from merganser.adaptation._merge import merge_experts
from merganser.adaptation._mix import mix
from merganser.adaptation._parametrise import PARAMETRISATIONS, Parametrisation, gains_of
from merganser.adaptation._peft import register_with_peft
from merganser.adaptation._peft_expert import expert_from_peft
from merganser.adaptation._scales import scale_checkpoints

__all__ = [
    "PARAMETRISATIONS",
    "AdaptedModel",
    "Decomposition",
    "ExpertVector",
    "Fact",
    "Factors",
    "LoraConversion",
    "Parametrisation",
    "adapted_digests",
    "as_lora",
    "attach",
    "choose_matrices",
    "decompose",
    "expert_from_peft",
    "factorise",
    "fold",
    "gains_of",
    "identity",
    "is_expert",
    "matrix_digest",
    "merge_experts",
    "mix",
    "open_expert",
    "register_with_peft",
    "save_expert",
    "scale_checkpoints",
    "scales",
]
