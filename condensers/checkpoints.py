"""Checkpoints: the state of a long run on disk, to go on from after a kill."""

import hashlib
import json
import time
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from condensers.core.loop import Loop
from condensers.device.files import atomic_write, one_line_errors
from condensers.memory import Memory, digest_of

CHECKPOINT_SECONDS = 60.0
DIGEST = "digest"  # of a checkpoint's other tensors


class Checkpoint:
    """The state of one lockstep run on disk, written about once a minute; a folder of None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.path: Path | None = None
        self.started = self.saved = time.monotonic()
        self.seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Time spent on the run, with that before a kill as far as it was saved."""
        return self.seconds_before + time.monotonic() - self.started

    def resume(self, loop: Loop, configs: list[dict[str, object]]) -> None:
        """Go on from the file of such a run if there is one; a damaged one counts as none, with a warning.

        Raises:
            ValueError: the file cannot be opened now. It may be whole, so it is not deleted.
        """
        if self.folder is None:
            return
        self.path = self.folder / f"{_name(loop, configs)}.safetensors"
        if not self.path.exists():
            return
        with one_line_errors("read", self.path):
            kept = self.path.read_bytes()
        try:
            self._restore(loop, load(kept))
        except (SafetensorError, KeyError, RuntimeError):
            warnings.warn(f"the checkpoint {self.path} is damaged and deleted: its run begins again", stacklevel=2)
            self.remove()

    def _restore(self, loop: Loop, found: dict[str, Tensor]) -> None:
        """Raises KeyError or RuntimeError, and changes nothing, if it is not what was written, or not of this run."""
        if not torch.equal(found.pop(DIGEST), _digest(found)):
            raise RuntimeError("the digest does not fit")
        loop.restore(found)
        self.seconds_before = float(found["seconds"])

    def save_if_due(self, loop: Loop) -> None:
        """Write the state if it was last written more than CHECKPOINT_SECONDS ago."""
        if time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
            self.save(loop)

    def save(self, loop: Loop) -> None:
        """Write the state."""
        if self.path is not None:
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in loop.state().items()}
            state |= {"seconds": torch.tensor(self.seconds, dtype=torch.float64)}
            atomic_write(self.path, save(state | {DIGEST: _digest(state)}))
        self.saved = time.monotonic()

    def remove(self) -> None:
        """Delete the file, and what a kill in the middle of writing it left: the run is over."""
        if self.path is not None:
            with one_line_errors("write", self.path):
                for file in (self.path, *self.path.parent.glob(f".{self.path.name}.*.tmp")):
                    file.unlink(missing_ok=True)


def _name(loop: Loop, configs: list[dict[str, object]]) -> str:
    """Of such a run, at its start."""
    # The checksum of the starting images is part of it, for other data sets may share the folder and seed.
    start = Memory(*loop.memory(loop.recipes[0].name), {}).checksum
    # So is the way it is written: a file of an older one is not met, rather than called damaged.
    return hashlib.sha256(json.dumps([*configs, start, DIGEST], sort_keys=True).encode()).hexdigest()[:16]


def _digest(state: dict[str, Tensor]) -> Tensor:
    return torch.tensor(list(bytes.fromhex(digest_of(["checkpoint"], state))), dtype=torch.uint8)
