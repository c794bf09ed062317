"""What an ablation has shown: a table for each grid, ablate.csv, and a figure."""

from collections.abc import Iterator

import pandas as pd

from condensers import registry
from condensers.core.grids import Grid
from condensers.core.recipe import league_of
from harness.ablate.grids import Ablation
from harness.core.estimates import duration
from harness.core.progress import say
from harness.core.records import write_csv
from harness.evidence.ablations import ablation_figure
from harness.evidence.intervals import Interval, above, interval
from harness.evidence.scores import accuracies_of, cost_of, published_beside


def report(ablation: Ablation) -> None:
    """Print a table for each grid, and write ablate.csv and ablate.png."""
    frame = pd.DataFrame([line for grid in ablation.grids for line in _lines(ablation, grid)])
    path, figure = ablation.out / "ablate.csv", ablation.out / "ablate.png"
    write_csv(path, frame)
    for grid in ablation.grids:
        paper = f" ({grid.paper})" if grid.paper else ""
        say(f"{grid.name}: {grid.description}{paper}\n{_shown(frame[frame['grid'] == grid.name])}\n")
    where = "the test set" if ablation.tested else "held-out training images"
    say(f"percent on {where}, 95 % t-intervals over memories; networks are averaged within each memory")
    differences = int((frame["variant"] != frame["base"]).sum())
    say(f"differences are paired by memory; none of the {differences} intervals is widened for there being others")
    say("time is that of a whole lockstep run, which variants with one schedule share")
    ablation_figure(frame, figure)
    say(f"rows: {ablation.records.path}   table: {path}   figure: {figure}")


def _lines(ablation: Ablation, grid: Grid) -> Iterator[dict[str, object]]:
    """The lines of ablate.csv for the variants of a grid."""
    point, records = ablation.point, ablation.records
    scores = {label: accuracies_of(point, name, records) for label, name in grid.variants.items()}
    for label, name in grid.variants.items():
        made, difference = registry.condenser(name), above(scores[label], scores[grid.reference])
        accuracy, zero = interval(scores[label]), Interval(0.0, 0.0, 0.0, difference.n, "none")
        yield {
            "grid": grid.name,
            "paper": grid.paper,
            "variant": label,
            "condenser": name,
            "league": league_of(made),
            "dataset": point.dataset.name,
            "images per class": point.ipc,
            "decoded per stored": made.decoded,
            "condensed on": point.condensed_on,
            "trained": point.scoring.network,
            **_columns("accuracy", accuracy),
            "base": grid.reference,
            **_columns("difference", difference if label != grid.reference else zero),
            "memories": difference.n,
            "networks": point.scoring.networks,
            "scored on": "test" if ablation.tested else "validation",
            "protocol": point.scoring.protocol,
            **published_beside(point, name, accuracy, ablation.tested),
            **cost_of(point, name),
        }


def _columns(name: str, measured: Interval) -> dict[str, float]:
    return {name: measured.mean, f"{name}_low": measured.low, f"{name}_high": measured.high}


def _shown(lines: pd.DataFrame) -> str:
    """The lines of a grid for the terminal; the league only if it differs between them."""
    rows = lines.to_dict("records")
    shown = pd.DataFrame({"variant": lines["variant"], "condenser": lines["condenser"]})
    if lines["league"].nunique() > 1:
        shown["league"] = lines["league"]
    shown["accuracy"] = [_said(row, "accuracy") for row in rows]
    shown[f"above {rows[0]['base']}"] = [
        "-" if row["variant"] == row["base"] else _said(row, "difference") for row in rows
    ]
    if (lines["published"] != "").any():
        shown["published"], shown["verdict"] = lines["published"], lines["verdict"]
    shown["memories x networks"] = [f"{row['memories']}x{row['networks']}" for row in rows]
    shown["time"] = [duration(row["seconds"]) for row in rows]
    shown["FLOP"] = [f"{row['flop']:.2g}" for row in rows]
    return shown.to_string(index=False)


def _said(row: dict[str, object], name: str) -> str:
    measured = Interval(*(row[column] for column in (name, f"{name}_low", f"{name}_high", "memories")), "t")
    return str(measured).removesuffix(f" n={measured.n}")
