"""CF: the characteristic function discrepancy of NCFM (Wang et al., CVPR 2025), in the setting of DM.

    L = 300 sum over classes of mean over w of sqrt( | phi_t(w) - phi_s(w) |^2 / 2 ),    phi_x(w) = mean exp(i <w, u_x>)

u is an embedding at unit length, w a standard normal vector. These are random Fourier features, so the loss is an MMD
with a Gaussian kernel, but with the root taken for each frequency. The paper weighs differences of amplitude and of
phase separately; at its weights of one half each they add up to the squared modulus above. Its released settings also
leave out the network that learns frequencies, so w is drawn anew in every iteration, the same for both sides.

Departures, which make this a method of the strict league where NCFM is in the open one: DM's fresh random networks
instead of points between the start and the end of 20 trained ones; no cross-entropy of a trained network; each stored
image decodes to one (NCFM: factor 2); SGD instead of AdamW; 256 real images, not 1,024; hard labels, and the evaluation
that all methods here have.
1,024 frequencies where the settings have 4,096: they change only how noisy the mean over w is, and drawing them is
the cost of the method, about a quarter of DM's iteration on a CPU.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from condensers.core.recipe import Recipe
from condensers.core.terms import Context, Term


@dataclass(frozen=True)
class CharacteristicFunction:
    """Real and imaginary part of the characteristic function of unit-length features at random frequencies.

    Attributes:
        frequencies: how many; normal, drawn anew in every iteration.
    """

    frequencies: int = 1024
    contextual = True

    def __call__(self, x: Float[Tensor, "C B d"], context: Context) -> Float[Tensor, "C 2 n"]:
        """Features to the two parts, averaged over the set."""
        directions = context.normal(self.frequencies * x.shape[2]).view(self.frequencies, -1)
        angles = F.normalize(x, dim=2) @ directions.T
        return torch.stack((angles.cos().mean(1), angles.sin().mean(1)), dim=1)


def modulus(real: Float[Tensor, "C 2 n"], synthetic: Float[Tensor, "C 2 n"]) -> Float[Tensor, ""]:
    """The modulus of the difference over the root of 2, averaged over frequencies and summed over classes."""
    # 1e-12, because the square root has an infinite slope at 0.
    return ((real - synthetic).square().sum(1) / 2 + 1e-12).sqrt().mean(1).sum()


CHARACTERISTIC = Term(CharacteristicFunction(), modulus, weight=300.0)
CONDENSERS = (
    Recipe(
        "cf",
        (CHARACTERISTIC,),
        description="characteristic functions of unit-length features, at random frequencies",
        paper="Wang et al., Dataset Distillation with Neural Characteristic Function, CVPR 2025",
    ),
)
