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
DIGEST = "digest"  # name of the tensor that holds the digest of all others


class Checkpoint:
    """The state of one lockstep run on disk, written about once a minute; without a folder nothing is written."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.path: Path | None = None
        self.started = self.saved = time.monotonic()
        self.seconds_before = 0.0

    @property
    def seconds(self) -> float:
        """Seconds spent on the run, including those before a kill, up to its last checkpoint."""
        return self.seconds_before + time.monotonic() - self.started

    def resume(self, loop: Loop, configs: list[dict[str, object]]) -> None:
        """Restore the loop from this run's file if there is one; a damaged file is deleted, with a warning.

        Raises:
            ValueError: the file cannot be read. It may be intact all the same, so it is not deleted.
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
        """Restore the loop. Raises KeyError or RuntimeError, and changes nothing, for damaged or foreign tensors."""
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
        """Delete the file, and temporary files that a kill while writing left behind: the run is over."""
        if self.path is not None:
            with one_line_errors("write", self.path):
                for file in (self.path, *self.path.parent.glob(f".{self.path.name}.*.tmp")):
                    file.unlink(missing_ok=True)


def _name(loop: Loop, configs: list[dict[str, object]]) -> str:
    """File name of a run's checkpoint, worked out before its first iteration."""
    # The checksum of the starting images is in the name, because other data sets may share the folder and seed.
    start = Memory(*loop.memory(loop.recipes[0].name), {}).checksum
    # DIGEST is in the name too: checkpoints of older code have other names, so they are ignored instead of being
    # reported as damaged.
    return hashlib.sha256(json.dumps([*configs, start, DIGEST], sort_keys=True).encode()).hexdigest()[:16]


def _digest(state: dict[str, Tensor]) -> Tensor:
    return torch.tensor(list(bytes.fromhex(digest_of(["checkpoint"], state))), dtype=torch.uint8)
