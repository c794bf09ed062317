"""DDM's ablations (Malakshan et al., 2024) and the readings of its terms: what to vary, as data.

`components` is Figure 3a, `k` Table 6, `blocks` Table 8, `alpha` Figure 5, `beta` and `lambda` Figure 6, with k as a
share of the images per class M. The figures print no numbers, so the values of alpha, beta and lambda are ours, around
those of the text. All grids use the default reading of `ddm`. Its style terms are averaged over the blocks that they
read, so the distance of a single block counts in full. `readings` varies one term at a time, as the paper or the code
has it.

Departure: an image has only M - 1 neighbours, so k = M is k = M - 1 here.
"""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from condensers.core.grids import Grid
from condensers.core.recipe import Recipe
from condensers.methods.ddm import ALPHA, BETA, CODE, DEFAULT, LAMBDA, PAPER, crowding_of_nearest
from condensers.methods.dm import DM


@dataclass(frozen=True)
class MeanCrowding:
    """Mean crowding with another number k of neighbours than the paper's 0.2 M.

    Attributes:
        share: k as a share of the images per class M; k is at least 1.
    """

    share: float
    reads_real = False

    def __call__(self, real: Tensor, synthetic: Float[Tensor, "C M d"]) -> Float[Tensor, ""]:
        """Features of synthetic images to the crowding; real images play no part."""
        images = synthetic.shape[1]
        return crowding_of_nearest(synthetic, max(1, round(self.share * images))) / images


def _with_neighbours(share: float) -> Recipe:
    return DM.plus(f"icd-k{share:g}", replace(DEFAULT.icd, distance=MeanCrowding(share)))


def _of_block(block: int) -> Recipe:
    return DM.plus(f"sm-block{block}", *(replace(term, blocks=(block,)) for term in (DEFAULT.mm, DEFAULT.cm)))


PLUS = {
    "mm-paper": ((PAPER.mm,), "moments of feature maps, the paper's equation to the letter"),
    "mm-code": ((CODE.mm,), "moments of the average feature map, as the authors' code has them"),
    "cm-paper": ((PAPER.cm,), "correlations of feature maps, the paper's equation to the letter"),
    "icd-paper": ((PAPER.icd,), "intra-class diversity, the paper's equation to the letter"),
    "icd-code": ((CODE.icd,), "intra-class diversity by two neighbours, as the authors' code has it"),
}
READINGS = (("mm", "mm-paper", "mm-code"), ("cm", "cm-paper"), ("icd", "icd-paper", "icd-code"))
GRIDS = (
    Grid(
        "components",
        "the terms of the objective, one by one and together",
        {"DM": "dm", "DM+MM": "dm+mm", "DM+CM": "dm+cm", "DM+MM+CM": "dm+sm", "DM+ICD": "dm+icd", "all": "ours"},
        "DDM, Figure 3a",
    ),
    Grid(
        "k",
        "neighbours that an image is kept apart from, as a share of the images per class",
        {"0": "dm"} | {f"{k / 10:g}": "dm+icd" if k == 2 else _with_neighbours(k / 10) for k in range(1, 11)},
        "DDM, Table 6",
    ),
    Grid(
        "blocks",
        "the block of the network whose style is matched",
        {"none": "dm", "1": _of_block(1), "2": _of_block(2), "3": _of_block(3), "all": "dm+sm"},
        "DDM, Table 8",
    ),
    Grid(
        "alpha",
        "weight of moments beside correlations",
        {"0": "dm+cm+icd"}
        | {f"{x:g}": "ours" if x == ALPHA else f"dm+mm:{LAMBDA * x:g}+cm+icd" for x in (0.1, 0.5, 1, 2, 10)},
        "DDM, Figure 5b and c",
        base=f"{ALPHA:g}",
    ),
    Grid(
        "beta",
        "weight of diversity",
        {"0": "dm+sm"} | {f"{x}": "ours" if x == BETA else f"dm+sm+icd:{x}" for x in (1, 5, 10, 20, 100)},
        "DDM, Figure 6",
        base=f"{BETA:g}",
    ),
    Grid(
        "lambda",
        "weight of style",
        {"0": "dm+icd"}
        | {f"{x}": "ours" if x == LAMBDA else f"dm+sm:{x}+icd" for x in (500, 1000, 5000, 10_000, 50_000)},
        "DDM, Figure 6",
        base=f"{LAMBDA:g}",
    ),
    Grid(
        "readings",
        "ways to read the objective, as a whole and one term at a time",
        {
            "DM": "dm",
            "ours": "ours",
            "paper": "ddm-paper",
            "code": "ddm-code",
            "released": "ddm-released",
            "MM of paper": "dm+mm-paper+cm+icd",
            "MM of code": "dm+mm-code+cm+icd",
            "CM of paper": "dm+mm+cm-paper+icd",
            "ICD of paper": "dm+mm+cm+icd-paper",
            "ICD of code": "dm+mm+cm+icd-code",
        },
    ),
)
