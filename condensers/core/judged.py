"""Two networks at once: one that recipes are matched on, and a pre-trained judge beside it, under a tap of its own."""

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
    """Networks to match on, and beside each of them one that is trained on the real images, of the same architecture.

    Attributes:
        matched: what all other taps read.
        judges: what the tap `judge` reads: its embedding.
    """

    matched: Networks
    judges: Pretrained
    trains_on: ClassVar[TrainsOn] = "real"

    def build(self, name: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Both networks as one."""
        return WithJudge(self.matched.build(name, classes, shape), self.judges.build(name, classes, shape))

    def begin(self, run: Run) -> "JudgedSource":
        """The source for one run."""
        # A seed of their own: else one random number would pick a judge and the network beside it.
        judged = replace(run, network=run.network.judge, seed=draws.key_of(run.seed, "judges"))
        return JudgedSource(
            {"matched": self.matched.begin(replace(run, network=run.network.matched)), JUDGE: self.judges.begin(judged)}
        )

    def hidden(self, iterations: int, ipc: int, memory: int, real: int) -> int:
        """Images that train either kind."""
        return sum(kind.hidden(iterations, ipc, memory, real) for kind in (self.matched, self.judges))


class WithJudge(nn.Module):
    """A network whose taps are those of another one, and the embedding of its judge, which runs only if it is read."""

    def __init__(self, matched: nn.Module, judge: nn.Module) -> None:
        super().__init__()
        self.matched, self.judge = matched, judge
        self.TAPS = (*matched.TAPS, JUDGE)

    @property
    def classifier(self) -> nn.Module:
        """That of the network that is matched on."""
        return self.matched.classifier

    def features(self, x: Float[Tensor, "n ch h w"], taps: Taps = NO_TAPS) -> Float[Tensor, "n d"]:
        """The embedding of the network that is matched on."""
        if JUDGE in taps:
            shown(taps, JUDGE, self.judge.features(x))
        return self.matched.features(x, taps)


class JudgedSource:
    """Sources side by side, by name."""

    def __init__(self, sources: dict[str, NetworkSource]) -> None:
        self.sources = sources

    @property
    def hidden_images(self) -> int:
        """Of all sources."""
        return sum(source.hidden_images for source in self.sources.values())

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Train what is to be trained."""
        for source in self.sources.values():
            source.advance(iteration, memory)

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Fill both networks."""
        for source in self.sources.values():
            source.load(at)

    def state(self) -> dict[str, Tensor]:
        """What each of them keeps."""
        return {
            f"{name}/{part}": tensor for name, source in self.sources.items() for part, tensor in source.state().items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. All is checked before a source takes any of it."""
        found = {name: tensors[name].to(own.device).view(own.shape) for name, own in self.state().items()}
        for name, source in self.sources.items():
            source.restore({part: found[f"{name}/{part}"] for part in source.state()})
