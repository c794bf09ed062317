"""What made a memory: which memories are replicates of each other, and names that distinguish the others.

Memories are replicates of one *making* if everything that made them is the same except the seed. A set that others
published has no seed, and its file name is all that is known of its making.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from condensers.core import leagues
from condensers.memory import Memory
from harness.core.stored import Stored

if TYPE_CHECKING:
    import pandas as pd

Settings = dict[str, object]
PER_CLASS = "images per class"
UNSEEDED = "no seed"


def making(stored: Stored) -> Settings:
    """Everything that made a memory except its seed, as JSON values; for a published set little but its name."""
    memory, metadata = stored.memory, stored.memory.metadata
    own = {name: value for name, value in metadata.get("config", {}).items() if name not in ("seed", "groups")}
    own |= {name: metadata[name] for name in ("precision", "store") if name in metadata}
    if "precision" in own:
        own.pop("real_dtype", None)  # follows from the precision
    return {"condenser": row_name(stored)} | own | {PER_CLASS: memory.per_class, "groups": len(groups_of(memory))}


def row_name(stored: Stored) -> str:
    """The name of a memory in its rows: its condenser, or the file's name if the file does not say which."""
    return str(stored.memory.metadata.get("condenser", stored.name))


def groups_of(memory: Memory) -> list[list]:
    """Pairs of the classes that were condensed together and their images per class; none for a published memory."""
    return memory.metadata.get("config", {}).get("groups") or []


def check_makings(stored: Sequence[Stored]) -> None:
    """Raise ValueError if two memories of one making and seed hold different images.

    This happens if they were made by different code or on different machines, or if two published sets have one name.
    They would count as one memory or as two replicates, and are neither.
    """
    known: dict[str, Stored] = {}
    for one in stored:
        same = known.setdefault(json.dumps([making(one), pairing_of(one.memory)], sort_keys=True), one)
        if same.memory.checksum != one.memory.checksum:
            raise ValueError(
                f"{same.path} and {one.path} hold other images, but go by one name and one seed: give each to a "
                "command of its own, or rename one if they are published"
            )


def check_apart(stored: Sequence[Stored], cells: Sequence[str]) -> None:
    """Raise ValueError if two memories of different names hold the same images: all rows of their cell have one name.

    Args:
        stored: the memories.
        cells: the key of each memory's cell.
    """
    known: dict[str, Stored] = {}
    for one, cell in zip(stored, cells, strict=True):
        same = known.setdefault(cell, one)
        if row_name(same) != row_name(one):
            raise ValueError(
                f"{same.path} and {one.path} hold the same memory under two names, and their rows could say only "
                "one of them: leave one out"
            )


def check_recorded(stored: Sequence[Stored], cells: Sequence[str], rows: "pd.DataFrame", where: object) -> None:
    """Raise ValueError if the cell of a memory is recorded already under another name of the memory.

    Args:
        stored: the memories.
        cells: the key of each memory's cell.
        rows: with columns cell and condenser.
        where: their file, for the message.
    """
    recorded = rows[rows["cell"].isin(cells)].groupby("cell")["condenser"].agg(set)
    for one, cell in zip(stored, cells, strict=True):
        name = row_name(one)
        known, *more = recorded.get(cell, {name})
        if known != name and not more:  # several names in one cell are damage, which `check_cells` reports
            raise ValueError(
                f"{one.path} is in {where} as {known}, not as {name}: call the file {known} again, choose another "
                f"--out, or delete the rows of cell {cell} to have them anew"
            )


def names_of(stored: Sequence[Stored], sizes: bool = True) -> list[str]:
    """A name for each memory: condenser, images per class if `sizes`, and settings that differ within the condenser."""
    makings, names = [making(one) for one in stored], []
    for own in makings:
        differing = _differing([other for other in makings if other["condenser"] == own["condenser"]])
        size = [f"{own[PER_CLASS]} per class"] if sizes else []
        names.append(", ".join([own["condenser"], *size, *_tell(own, differing)]))
    return names


def _differing(makings: Sequence[Settings]) -> dict[str, list[str]]:
    """Settings with more than one value among these, each with its values in the order of their first use."""
    found = {
        name: list(dict.fromkeys(json.dumps(own.get(name), sort_keys=True) for own in makings))
        for name in dict.fromkeys(name for own in makings for name in own)
    }
    return {name: values for name, values in found.items() if len(values) > 1 and name != PER_CLASS}


def _tell(own: Settings, differing: dict[str, list[str]]) -> list[str]:
    """What differs, as `name=value`; for a list or mapping as `name #number`."""
    said = []
    for name, values in differing.items():
        value = own.get(name)
        number = values.index(json.dumps(value, sort_keys=True)) + 1
        said.append(f"{name} #{number}" if isinstance(value, list | dict) else f"{name}={value}")
    return said


def pairing_of(memory: Memory) -> tuple[str, str]:
    """What memories of two makings are paired by: the classes of their groups, and the seed.

    Both are text, because pandas drops values that are None.
    """
    classes = [classes for classes, _ in groups_of(memory)]
    return json.dumps(classes), str(memory.metadata.get("seed", UNSEEDED))


def league(stored: Stored) -> str:
    """`strict` or `open`, or `not said` where a file does not say whether real labels trained a network."""
    real = trained_on_real(stored.memory)
    found = leagues.league(1, stored.memory.pixels.decoded, bool(real))
    return leagues.NOT_SAID if real is None and found == "strict" else found


def trained_on_real(memory: Memory) -> bool | None:
    """Whether networks trained on real labels made a memory, as soft labels are made; None if it does not say."""
    return True if memory.soft_labels is not None else memory.metadata.get("trained_on_real")
