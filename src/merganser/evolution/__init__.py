"""Searching for the best combination: genomes, niches, and searches as values.

| names | what |
| --- | --- |
| [`Niches`][], [`niche_fitness`][], [`attraction`][], [`coverage`][], [`entropy`][] | how a population competes |
| [`Archive`][], [`ArchiveMember`][] | a population and what follows from its scores |
| [`CombinationSpace`][], [`DenseSpace`][], [`DenseGenome`][], [`Cross`][], [`Space`][], [`Genome`][] | what evolves |
| [`drawn_cross`][], [`random_start`][] | what is random about it |
| [`RecipeSpace`][], [`RecipeGenome`][], [`Genes`][], [`Gene`][], [`Domain`][], [`Seeded`][] | merges by rule |
| [`Grouping`][] | groups of tensors that have genes of their own |
| [`Search`][], [`SubsetSearch`][], [`Proposal`][], [`Row`][], [`Screening`][], [`Member`][] | what a search is |
| [`NaturalNiches`][], [`Variation`][] | M2N2, its ablations, and the genetic algorithm (α = 0, no attraction) |
| [`MapElites`][], [`CmaEs`][], [`RandomSearch`][], [`BruteForce`][] | the paper's baselines |
| [`PathSpace`][], [`MixedCmaEs`][] | paths through the blocks of models, and a search for switches and scales |
| [`Objectives`][], [`front`][], [`ranks`][], [`crowding`][], [`crowded_order`][], [`hypervolume`][] | several aims |
| [`Nsga2`][] | a search for the Pareto front of several aims |
| [`Grid`][] | all values of one gene or two |
| [`DenseVectors`][], [`LayerWeights`][], [`VectorSpace`][] | what CMA-ES searches |
"""

from merganser.evolution._archive import Archive, ArchiveMember
from merganser.evolution._best import Best, weighted_mean, weighted_means
from merganser.evolution._cma_es import (
    FULL_COVARIANCE_LIMIT,
    CmaEs,
    DenseVectors,
    LayerWeights,
    VectorSpace,
    uses_diagonal,
)
from merganser.evolution._genes import Domain, Gene
from merganser.evolution._genomes import (
    CombinationSpace,
    Cross,
    DenseGenome,
    DenseSpace,
    Genome,
    Seeded,
    Space,
    angle_between,
    dense_genome,
    drawn_cross,
    random_start,
)
from merganser.evolution._grid import Grid
from merganser.evolution._groups import Grouping
from merganser.evolution._map_elites import MapElites
from merganser.evolution._mixed_cma_es import MixedCmaEs
from merganser.evolution._natural_niches import NaturalNiches, Variation
from merganser.evolution._niches import Niches, attraction, coverage, entropy, niche_fitness
from merganser.evolution._nsga2 import Nsga2
from merganser.evolution._objectives import Objectives
from merganser.evolution._pareto import crowded_order, crowding, front, hypervolume, ranks
from merganser.evolution._paths import PathSpace
from merganser.evolution._random import keyed_generator
from merganser.evolution._recipes import Genes, RecipeGenome, RecipeSpace
from merganser.evolution._rejection import NicheScreening
from merganser.evolution._sampling import BruteForce, RandomSearch
from merganser.evolution._search import Member, Proposal, Row, Screening, Search, SubsetSearch

__all__ = [
    "FULL_COVARIANCE_LIMIT",
    "Archive",
    "ArchiveMember",
    "Best",
    "BruteForce",
    "CmaEs",
    "CombinationSpace",
    "Cross",
    "DenseGenome",
    "DenseSpace",
    "DenseVectors",
    "Domain",
    "Gene",
    "Genes",
    "Genome",
    "Grid",
    "Grouping",
    "LayerWeights",
    "MapElites",
    "Member",
    "MixedCmaEs",
    "NaturalNiches",
    "NicheScreening",
    "Niches",
    "Nsga2",
    "Objectives",
    "PathSpace",
    "Proposal",
    "RandomSearch",
    "RecipeGenome",
    "RecipeSpace",
    "Row",
    "Screening",
    "Search",
    "Seeded",
    "Space",
    "SubsetSearch",
    "Variation",
    "VectorSpace",
    "angle_between",
    "attraction",
    "coverage",
    "crowded_order",
    "crowding",
    "dense_genome",
    "drawn_cross",
    "entropy",
    "front",
    "hypervolume",
    "keyed_generator",
    "niche_fitness",
    "random_start",
    "ranks",
    "uses_diagonal",
    "weighted_mean",
    "weighted_means",
]
