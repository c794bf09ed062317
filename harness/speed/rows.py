"""What `harness.speed` records: one row for each competitor and turn, with what it is compared with.

A speed belongs to a machine and to the code that was timed, so both are part of a cell's key: the same command goes on
where it stopped on the same machine at the same code, and measures anew elsewhere. Older rows stay.

Achieved FLOP/s are the operations that the mathematics asks for (convolutions and matrix products, the same count for
every competitor) over the time. They are compared with the rate of the convolutions of the real images alone, in
the core's chunks and layout. The time of a whole step at one image per class is an upper bound for the real branch's,
because such a step does little else.
"""

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch

from harness.core.checks import check_counted, check_numbers, damage
from harness.core.devices import name_of
from harness.core.paths import ROOT
from harness.core.records import Records, provenance
from harness.core.rows import TurnRow
from harness.core.seeds import config_key
from harness.speed.competitors import AS_IT_COMES, Contestant, flop_per_step
from harness.speed.measuring import Turn

PLAIN, CORE, ONE_IMAGE, CONVOLUTIONS = "plain", "core", "core at 1 image", "convolutions"
PLAIN_KEPT, SIDE_BY_SIDE = "plain, memory kept", "core side by side"
ALONE, TOGETHER = "dm alone", "dm and eight readings"
EVALUATION = "evaluation"  # the `method` of trainings, which take the same time whatever condenser made the memory
BASELINES = {"condense": PLAIN, "train": PLAIN, "lockstep": ALONE}
COMPARED = (CORE, PLAIN_KEPT, SIDE_BY_SIDE, TOGETHER)
# With torch's defaults convolutions on CUDA may use TF32, so the plain loop's default is compared with tf32.
PLAIN_EQUAL = {"fp32": "fp32", "tf32": AS_IT_COMES}
YARDSTICK = {AS_IT_COMES: "tf32"}
TIMED = (
    "condensers/**/*.py",
    "search_spaces/**/*.py",
    "harness/core/devices.py",
    "harness/speed/competitors.py",
    "harness/speed/measuring.py",
    "harness/speed/objectives.py",
    "harness/speed/plain.py",
)

Speeds = Mapping[tuple[str, str], float]  # of a label at a precision, in units a second


@dataclass(frozen=True)
class Contest:
    """Competitors that take turns, and what they are compared in."""

    what: str
    dataset: str
    method: str
    competitors: tuple[Contestant, ...]

    def __str__(self) -> str:
        return f"{self.what} {self.dataset} {self.method} IPC {self.competitors[0].ipc}"

    def key(self, repeats: int, seconds: float) -> str:
        """The identity of the measurement: everything that is measured, how, where and at which code."""
        shared = provenance(self.competitors[0].device, "")
        return config_key(
            {
                "cell": asdict(self),
                "repeats": repeats,
                "seconds": seconds,
                "machine": [machine(), _device(self.competitors[0]), shared["threads"], shared["versions"]],
                "code": _code(),
            }
        )

    def rows(self, key: str, repeats: Sequence[Sequence[Turn]]) -> list[TurnRow]:
        """One row for each competitor and repeat."""
        return [
            TurnRow(cell=key, repeat=repeat, **self._columns(place, turns))
            for repeat, turns in enumerate(repeats)
            for place in range(len(turns))
        ]

    def _columns(self, place: int, turns: Sequence[Turn]) -> dict[str, object]:
        one, turn = self.competitors[place], turns[place]
        speeds = {
            (other.label, other.precision): its.steps * other.units / its.seconds
            for other, its in zip(self.competitors, turns, strict=True)
        }
        return {
            "what": self.what,
            "dataset": self.dataset,
            "method": one.method,
            "classes": one.classes,
            "ipc": one.ipc,
            "network": one.network,
            "real_batch": None if one.epochs else one.batch,
            "networks": one.networks if one.epochs else None,
            "competitor": one.label,
            "unit": "image" if one.epochs else "iteration",
            "units": turn.steps * one.units,
            "seconds": turn.seconds,
            "cpu_seconds": turn.cpu_seconds,
            "units_per_second": turn.steps * one.units / turn.seconds,
            "peak_bytes": turn.peak_bytes,
            "chunk": None if one.kind.startswith("plain") else one.chunk,
            "machine": machine(),
            **self._ratios(one, speeds),
            **self._work(one, turn, speeds),
            "real_branch_over_convolutions": self._real_branch(one, speeds),
            **provenance(_device(one), one.precision),
        }

    def _ratios(self, one: Contestant, speeds: Speeds) -> dict[str, float | None]:
        """Speed divided by the baseline's: with the baseline in equal arithmetic, and in its own by default."""
        baseline = BASELINES.get(self.what) if one.label in COMPARED else None
        equal = PLAIN_EQUAL.get(one.precision, "") if baseline == PLAIN else one.precision
        usual = AS_IT_COMES if (baseline, AS_IT_COMES) in speeds else "fp32"
        own = speeds[one.label, one.precision]
        return {
            name: own / speeds[baseline, precision] if (baseline, precision) in speeds else None
            for name, precision in (("ratio", equal), ("ratio_default", usual))
        }

    def _work(self, one: Contestant, turn: Turn, speeds: Speeds) -> dict[str, float | None]:
        """Achieved FLOP/s, and their share of what the convolutions alone achieve in the same arithmetic."""
        flop = flop_per_step(one)
        rate = None if flop is None else flop * turn.steps / turn.seconds
        precision = YARDSTICK.get(one.precision, one.precision)
        alone = {c.precision: c for c in self.competitors if c.label == CONVOLUTIONS}.get(precision)
        share = rate / (flop_per_step(alone) * speeds[CONVOLUTIONS, precision]) if rate and alone else None
        return {"flop_per_second": rate, "share_of_convolutions": share}

    def _real_branch(self, one: Contestant, speeds: Speeds) -> float | None:
        if self.what != "condense" or one.label != CORE:
            return None
        label = CORE if one.ipc == 1 else ONE_IMAGE
        return speeds[CONVOLUTIONS, one.precision] / speeds[label, one.precision]


def check_turns(records: Records[TurnRow], competitors: Mapping[str, int], repeats: int) -> None:
    """Raise ValueError unless every competitor has all its turns, and all that was measured is possible.

    Args:
        records: of this machine and of others.
        competitors: how many took turns, by the key of the cell; for other cells this is unknown.
        repeats: turns of each competitor.
    """
    rows, where = records.read(), records.path
    check_numbers(rows, TurnRow, (), where)
    own = rows[rows["cell"].isin(competitors)]
    turns = own.assign(one=[f"{row.cell} of {_named(row)}" for row in own.itertuples()])
    for cell, names in turns.groupby("cell")["one"]:
        if names.nunique() != competitors[cell]:
            raise damage(where, cell, f"has turns of {names.nunique()} competitors, not of {competitors[cell]}")
    check_counted(turns.assign(cell=turns["one"]), "repeat", dict.fromkeys(turns["one"], repeats), where)


def _named(row: TurnRow) -> str:
    return f"{row.competitor} {row.precision}, IPC {row.ipc} of {row.classes} classes"


@cache
def machine() -> str:
    """The processor and its number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _device(one: Contestant) -> str:
    return name_of(torch.device(one.device))


@cache
def _code() -> str:
    """A digest of the code that decides a speed; a commit would be the same for different uncommitted changes."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(path for pattern in TIMED for path in ROOT.glob(pattern)):
        digest.update(f"{path.name} {path.stat().st_size} ".encode() + path.read_bytes())
    return digest.hexdigest()
