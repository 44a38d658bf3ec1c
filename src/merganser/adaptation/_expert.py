"""An expert: one number for each singular direction of the matrices that it adapts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias, final

from jaxtyping import Float

from merganser._errors import CheckpointError
from merganser.adaptation._decomposition import Decomposition
from merganser.adaptation._factors import matrix_digest
from merganser.adaptation._parametrise import PARAMETRISATIONS, Parametrisation, mask_of, mean_mask, relative
from merganser.weights import Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

Fact: TypeAlias = str | int | float | bool | None
"""What may be noted about an expert's training."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class ExpertVector:
    """How strongly each singular direction of a base's matrices counts; made by one of the `from_…`.

    It needs neither the base nor its decomposition to say its gains, so experts are mixed, merged and compared by
    themselves.

    Args:
        vectors: For each matrix float32 numbers for its leading directions, in the parametrisation.
        parametrisation: What they are: ``"sigmoid"`` (logits) or ``"plain"`` (gains).
        base: Digest of each matrix that it was made for.
        means: Of logits, the mean mask of each matrix; empty otherwise.
        facts: What is known of its training.

    Raises:
        ValueError: If the parts do not belong together, or numbers are not finite.
    """

    vectors: Mapping[str, Float[Tensor, " directions"]]
    parametrisation: Parametrisation
    base: Mapping[str, str]
    means: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("vectors", "base", "means", "facts"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        _check(self)

    @classmethod
    def from_logits(
        cls,
        logits: Mapping[str, Float[Tensor, " directions"]],
        decomposition: Decomposition,
        *,
        facts: Mapping[str, Fact] | None = None,
    ) -> ExpertVector:
        """An expert in the parametrisation of the published code.

        Args:
            logits: For each matrix a logit for each of its leading directions.
            decomposition: Of the base.
            facts: What is known of its training.

        Raises:
            ValueError: If a matrix was not decomposed or has fewer directions, or logits are not finite or so low
                that their sigmoid is 0.
        """
        vectors = {name: vector.detach().cpu().float().clone() for name, vector in logits.items()}
        sigmas = {name: _sigma(decomposition, name, len(vector)) for name, vector in vectors.items()}
        means = {n: mean_mask(mask_of(v), sigmas[n]).item() for n, v in vectors.items() if len(v)}
        base = {name: decomposition[name].digest for name in vectors}
        return cls(vectors, "sigmoid", base, means, facts or {})

    @classmethod
    def from_gains(
        cls,
        gains: Mapping[str, Float[Tensor, " directions"]],
        base: Mapping[str, str],
        *,
        facts: Mapping[str, Fact] | None = None,
    ) -> ExpertVector:
        """An expert as gains, scale less 1.

        Args:
            gains: For each matrix a gain for each of its leading directions; 0 leaves one as it is.
            base: Digest of each matrix (`Decomposition.digests`); others are left out.
            facts: What is known of its training.

        Raises:
            ValueError: If a matrix has no digest, or gains are not finite.
        """
        vectors = {name: gain.detach().cpu().float().clone() for name, gain in gains.items()}
        return cls(vectors, "plain", {n: base[n] for n in vectors if n in base}, facts=facts or {})

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, like: ExpertVector, *, facts: Mapping[str, Fact] | None = None
    ) -> ExpertVector:
        """The expert that a checkpoint of scales describes, as `as_checkpoint` makes them and merging leaves them.

        Args:
            checkpoint: Scales by matrix.
            like: An expert of the same base.
            facts: What is known of it.

        Raises:
            ValueError: If the checkpoint has matrices that `like` lacks, or scales that are not finite.
        """
        gains = {name: checkpoint.read(name).double() - 1 for name in checkpoint}
        return cls.from_gains(gains, like.base, facts=facts)

    def __iter__(self) -> Iterator[str]:
        return iter(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def gains(self, name: str) -> Float[Tensor, " directions"]:
        """Scale less 1 of a matrix's leading directions; the others have 0.

        Raises:
            ValueError: If the expert does not adapt the matrix.
        """
        if name not in self.vectors:
            raise ValueError(f"The expert does not adapt {name!r}, but {len(self)} other matrices.")
        if self.parametrisation == "plain":
            return self.vectors[name]
        import torch

        mask = mask_of(self.vectors[name])
        return relative(mask, torch.tensor(self.means[name]))

    def as_checkpoint(self) -> Checkpoint:
        """Scales as a checkpoint, float64: what is compared, merged and evolved as any model is.

        Tensors have the names of the matrices. The base is a checkpoint of ones ([`identity`][] gives its expert).
        """
        scales = {name: self.gains(name).double() + 1 for name in self}
        return Checkpoint.from_tensors(scales, copy=False)


def scales(expert: ExpertVector) -> dict[str, Float[Tensor, " directions"]]:
    """What each leading singular value is multiplied with, matrix by matrix, float64."""
    return {name: expert.gains(name).double() + 1 for name in expert}


def identity(expert: ExpertVector) -> ExpertVector:
    """The expert that leaves the base as it is, on the matrices and directions of another."""
    import torch

    return ExpertVector.from_gains(
        {name: torch.zeros_like(vector) for name, vector in expert.vectors.items()}, expert.base
    )


def check_base(expert: ExpertVector, found: Mapping[str, str], base: str) -> None:
    """Make sure that an expert was made for the matrices at hand.

    Args:
        expert: The expert.
        found: Digests of the base's matrices.
        base: What messages call the base.

    Raises:
        CheckpointError: If a matrix is missing or another one.
    """
    for name, expected in expert.base.items():
        if name not in found:
            raise CheckpointError(
                f"The expert adapts {name!r}, which is not among the {len(found)} matrices of {base}. Decompose it "
                "too, or take the base that the expert was made for."
            )
        if found[name] != expected:
            raise CheckpointError(
                f"The expert was made for another base: expected {name!r} with digest {expected}, but that of {base} "
                f"has {found[name]}. Take the base that it was trained on."
            )


def adapted_digests(experts: Iterable[ExpertVector], base: Checkpoint) -> dict[str, str]:
    """Digests of the matrices of a base that experts adapt, once it is sure that they were made for it.

    Raises:
        CheckpointError: If one was made for another base.
    """
    experts = list(experts)
    names = dict.fromkeys(name for expert in experts for name in expert)
    found = {name: matrix_digest(base.read(name)) for name in names if name in base}
    for expert in experts:
        check_base(expert, found, base.source)
    return found


def _sigma(decomposition: Decomposition, name: str, directions: int) -> Float[Tensor, " directions"]:
    sigma = decomposition[name].sigma
    if directions > len(sigma):
        raise ValueError(
            f"Expected at most {len(sigma)} numbers for {name!r}, one for each direction, found {directions}."
        )
    return sigma[:directions]


def _check(expert: ExpertVector) -> None:
    if expert.parametrisation not in PARAMETRISATIONS:
        raise ValueError(
            f"Expected a parametrisation among {', '.join(PARAMETRISATIONS)}, found {expert.parametrisation!r}."
        )
    if set(expert.base) != set(expert.vectors):
        odd = sorted(set(expert.base) ^ set(expert.vectors))[0]
        raise ValueError(f"Expected a vector and a digest for each matrix, but {odd!r} lacks one of them.")
    for name, vector in expert.vectors.items():
        if vector.ndim != 1 or not len(vector) or str(vector.dtype) != "torch.float32":
            raise ValueError(
                f"Expected a float32 vector for {name!r}, found {vector.dtype} of shape {tuple(vector.shape)}."
            )
        if not vector.isfinite().all():
            raise ValueError(f"Expected finite numbers for {name!r}, found NaN or infinity.")
        if expert.parametrisation == "sigmoid" and not 0 < expert.means.get(name, 0.0) <= 1:
            raise ValueError(
                f"Expected the mean mask of {name!r} in (0, 1], found {expert.means.get(name)}. Logits below -100 "
                "leave nothing of a matrix."
            )
