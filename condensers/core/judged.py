"""Two networks at once: the one that recipes are matched on, and a pre-trained one that the tap `judge` reads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.core.networks import Images, Networks, NetworkSource, Run, TrainsOn
from condensers.core.pools import Pretrained
from condensers.core.terms import JUDGE
from condensers.device import draws
from search_spaces.convnet import NO_TAPS, Taps, shown


@dataclass(frozen=True)
class Judged(Networks):
    """Networks to match on, each with a judge: a network of the same architecture, trained on the real images.

    Attributes:
        matched: the networks that all taps but `judge` read.
        judges: the networks whose embedding the tap `judge` reads.
    """

    matched: Networks
    judges: Pretrained
    trains_on: ClassVar[TrainsOn] = "real"

    def build(self, name: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Both networks as one."""
        return WithJudge(self.matched.build(name, classes, shape), self.judges.build(name, classes, shape))

    def begin(self, run: Run) -> "JudgedSource":
        """The source for one run."""
        # Judges get another seed, because otherwise one random number would pick both a judge and its network.
        judged = replace(run, network=run.network.judge, seed=draws.key_of(run.seed, "judges"))
        return JudgedSource(
            {"matched": self.matched.begin(replace(run, network=run.network.matched)), JUDGE: self.judges.begin(judged)}
        )

    def hidden(self, iterations: int, ipc: int, memory: int, real: int) -> int:
        """Images that train the networks of both kinds."""
        return sum(kind.hidden(iterations, ipc, memory, real) for kind in (self.matched, self.judges))


class WithJudge(nn.Module):
    """The matched network with one more tap, `judge`: the embedding of its judge, which runs only if that is read."""

    def __init__(self, matched: nn.Module, judge: nn.Module) -> None:
        super().__init__()
        self.matched, self.judge = matched, judge
        self.TAPS = (*matched.TAPS, JUDGE)

    @property
    def classifier(self) -> nn.Module:
        """The classifier of the network that is matched on."""
        return self.matched.classifier

    def features(self, x: Float[Tensor, "n ch h w"], taps: Taps = NO_TAPS) -> Float[Tensor, "n d"]:
        """The embedding of the network that is matched on."""
        if JUDGE in taps:
            shown(taps, JUDGE, self.judge.features(x))
        return self.matched.features(x, taps)


class JudgedSource:
    """Several network sources as one, by name."""

    def __init__(self, sources: dict[str, NetworkSource]) -> None:
        self.sources = sources

    @property
    def hidden_images(self) -> int:
        """Images that have trained the networks of all sources."""
        return sum(source.hidden_images for source in self.sources.values())

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Let every source train its networks before that iteration."""
        for source in self.sources.values():
            source.advance(iteration, memory)

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Fill both networks."""
        for source in self.sources.values():
            source.load(at)

    def state(self) -> dict[str, Tensor]:
        """The state of every source, its tensors named `SOURCE/TENSOR`."""
        return {
            f"{name}/{part}": tensor for name, source in self.sources.items() for part, tensor in source.state().items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. All tensors are checked before any source is changed."""
        found = {name: tensors[name].to(own.device).view(own.shape) for name, own in self.state().items()}
        for name, source in self.sources.items():
            source.restore({part: found[f"{name}/{part}"] for part in source.state()})
