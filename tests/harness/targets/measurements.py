"""Rows and tables as commands leave them, of memories with given mean accuracies."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.core.records import Records, csv_of
from harness.core.schema import Provenance, ScoreRow
from harness.evidence.intervals import interval
from harness.evidence.published import CHECKSUMS
from harness.targets.__main__ import main
from harness.targets.flags import Targets

WIDE = "ConvNet-W128-D3-IN-ReLU-Avg"
NARROW = WIDE.replace("128", "64")
ORIGIN = Provenance(device="cpu", precision="fp32", backend="mkldnn", threads=1, chunk=16, commit="x", versions="x")
NEAR = (-0.003, 0.0, 0.003)  # of memories from their mean: an interval of 0.75 points to either side


def row(**about: object) -> ScoreRow:
    usual = {
        "dataset": "cifar10",
        "dataset_checksum": CHECKSUMS[about.get("dataset", "cifar10")],
        "ipc_stored": 10,
        "ipc_decoded": 10,
        "steps": 1,
        "step": 1,
        "trained_on_real": False,
        "class_order": 0,
        "memory_replicate": 0,
        "classes_seen": 10,
        "seconds": 1.0,
        "protocol": "bench-1",
        "origin": ORIGIN,
        "memory_checksum": "x",
        "metric": f"accuracy of {WIDE}",
    }
    return ScoreRow(**usual | about)


def cells(means: list[float], networks: int, **about: object) -> list[ScoreRow]:
    """A cell for each memory, whose networks lie evenly around its mean."""
    rows = []
    for memory, mean in enumerate(means):
        key = "-".join(map(str, (memory, *about.values())))
        for network in range(networks):
            value = mean + 0.001 * (network - (networks - 1) / 2)
            own = {"cell": key, "config": f"of {about}", "memory_replicate": memory, "network_replicate": network}
            rows.append(row(value=value, **own | about))
    return rows


def table(
    folder: Path,
    measured: dict[str, float],
    around: tuple[float, ...] = NEAR,
    networks: int = 5,
    name: str = "table.csv",
    **about: object,
) -> Path:
    """What harness.table, or harness.ablate, leaves of memories of these mean accuracies."""
    about = {"scored on": "test", "protocol": "bench-1", "ipc": 10, "trained": WIDE, "verdict": "", **about}
    records, table, ends = Records(folder / "results.csv", ScoreRow), [], "accuracy_" if name == "ablate.csv" else ""
    for condenser, mean in measured.items():
        of_rows = {"ipc_stored": about["ipc"], "ipc_decoded": about["ipc"], "metric": f"accuracy of {about['trained']}"}
        of_rows |= {"condenser": condenser, "protocol": about["protocol"]}
        of_rows |= {name: about[name] for name in ("dataset_checksum",) if name in about}
        rows = cells([mean + off for off in around], networks, **of_rows)
        records.append(rows)
        frame = records.read()
        value = interval(frame[frame["cell"].isin([one.cell for one in rows])])
        more = dict.fromkeys(("grid", "paper", "variant", "base"), "x") | dict.fromkeys(
            ("difference", "difference_low", "difference_high"), 0.0
        )
        table.append(
            {
                "dataset": "cifar10",
                "condenser": condenser,
                "league": "strict",
                "images per class": about["ipc"],
                "decoded per stored": 1,
                "condensed on": NARROW,
                "trained": about["trained"],
                "accuracy": value.mean,
                f"{ends}low": value.low,
                f"{ends}high": value.high,
                "memories": value.n,
                "networks": networks,
                "published": "",
                "verdict": about["verdict"],
                "seconds": 90.0,
                "flop": 1e12,
                "scored on": about["scored on"],
                "protocol": about["protocol"],
                "hidden_images": 0,
                "peak_bytes": 1,
                **(more if name == "ablate.csv" else {}),
            }
        )
    (folder / name).write_bytes(csv_of(pd.DataFrame(table)))
    return folder


def targets(*folders: Path, out: Path) -> pd.DataFrame:
    main(Targets(folders=folders, out=out))
    return pd.read_csv(out / "targets.csv", keep_default_na=False, dtype=str)


def found(frame: pd.DataFrame, method: str, place: str = "1", dataset: str = "cifar10", ipc: str = "10", **more: str):
    about = {"method": method, "table": place, "dataset": dataset, "images per class": ipc, **more}
    own = frame
    for column, value in about.items():
        own = own[own[column] == value]
    (line,) = own.to_dict("records")
    return line


def stream(folder: Path, condenser: str, mean: float, networks: int = 5, **about: object) -> None:
    """What harness.continual leaves of the first and the last step of a stream, with a memory for each class order."""
    usual = {"dataset": "cifar100", "ipc_stored": 20, "ipc_decoded": 20, "steps": 5, "classes_seen": 100}
    last = cells([mean + off for off in NEAR], networks, condenser=condenser, metric="accuracy", **usual | about)
    made = about.get("memory_checksum")
    last = [
        replace(
            one,
            step=5,
            class_order=one.memory_replicate,
            memory_replicate=0,
            memory_checksum=made or str(one.memory_replicate),
        )
        for one in last
    ]
    first = [replace(one, cell=f"{one.cell}-first", step=1, value=0.9) for one in last]
    Records(folder / "results.csv", ScoreRow).append([*first, *last])
