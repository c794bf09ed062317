"""What an analysis says: a table over condensers, rank correlations of losses with accuracy, and figures."""

from collections.abc import Sequence

import pandas as pd

from harness.analyse import drift, figures
from harness.analyse.running import (
    DIVERSITY,
    OBJECTIVES,
    STYLE_GAP,
    TEXTURE,
    Analysis,
    drifted,
    drifts,
    loss_of,
    measured,
    sights_of,
)
from harness.analyse.subjects import REAL, Subject
from harness.core.progress import say
from harness.core.records import write_csv
from harness.evidence.intervals import MEMORY, Interval, interval
from harness.evidence.ranking import Correlation, correlation, crossed
from harness.evidence.sources import CONTROL

METRICS = (STYLE_GAP, DIVERSITY, *TEXTURE, *map(loss_of, OBJECTIVES))


def report(analysis: Analysis) -> None:
    """Print the tables and draw the figures, from the records alone."""
    rows = measured(analysis)
    table = _table(rows, METRICS)
    say(_shown(table))
    _write(analysis, "analysis.csv", _long(table))
    figures.texture(rows, TEXTURE, _marks(analysis), analysis.out / "texture.png")
    _draw_among_real(analysis, table)
    if analysis.scores:
        _correlate(analysis, rows)
    if analysis.base:
        _report_drift(analysis)
    say(f"rows: {analysis.records.path}   figures: {analysis.out}")


def _marks(analysis: Analysis) -> figures.Marks:
    named = [analysis.base] if analysis.base else []
    return figures.marks([one.shown for one in (*analysis.subjects, *named)], REAL)


def _draw_among_real(analysis: Analysis, table: pd.DataFrame) -> None:
    """Draw styles and embeddings of every condenser's first memory among the reference images (DDM, Figure 1a-b)."""
    first = {one.shown: one for one in reversed(analysis.subjects) if one.name != REAL}
    seen = {REAL: analysis.reference} | {name: first[name].images for name in reversed(first)}
    sights = sights_of(analysis, {name: images[figures.SHOWN_CLASS] for name, images in seen.items()})
    label = analysis.dataset.class_names[figures.SHOWN_CLASS]
    about = f"{analysis.dataset.name}, class {label}, one {analysis.network} of random weights"
    lines = []
    for metric, points in sights.items():
        values = {row["condenser"]: row[metric].mean for _, row in table[::-1].iterrows()}
        places = figures.embedded(points)
        figures.among_real(places, values, metric, about, _marks(analysis), analysis.out / f"{metric.split()[0]}.png")
        lines += [
            {"metric": metric, "condenser": name, "class": label, "value": values[name], "x": x, "y": y}
            for name, own in places.items()
            for x, y in own.tolist()
        ]
    _write(analysis, "tsne.csv", pd.DataFrame(lines))


def _report_drift(analysis: Analysis) -> None:
    table = _table(_drift_rows(analysis), [drifted(ratio) for ratio in drift.RATIOS])
    say(f"accuracy while the style of {analysis.base.shown} drifts to that of")
    say(_shown(table, percent=True, over="the memories drifted to"))
    _write(analysis, "drift.csv", _long(table))
    about = f"{analysis.dataset.name}, {analysis.network}, {analysis.training.epochs} epochs; 95 % intervals"
    figures.drifts(table, drift.RATIOS, analysis.base.shown, about, _marks(analysis), analysis.out / "drift.png")


def _drift_rows(analysis: Analysis) -> pd.DataFrame:
    """The rows of all drifts, that to the memory's own style as the control, which is no replicate of another.

    At ratio 0 nothing drifts: every target has the same networks there, which count once.
    """
    rows = drifts(analysis)
    own = rows["memory_checksum"] == analysis.base.memory.checksum
    rows = rows.assign(condenser=rows["condenser"].mask(own, analysis.base.shown + CONTROL))
    again = rows.duplicated(["condenser", "ipc_decoded", "network_replicate", "metric"])
    return rows[~(again & (rows["metric"] == drifted(0.0)))]


def _correlate(analysis: Analysis, rows: pd.DataFrame) -> None:
    """Write and draw the rank correlation of a small loss with accuracy, over memories and over condensers."""
    accuracy, lines = analysis.accuracies, []
    for name in OBJECTIVES:
        loss = _by_memory(rows, loss_of(name))
        both = pd.concat([-loss, accuracy], axis=1, join="inner", keys=["loss", "accuracy"])
        shared = origins(analysis.subjects).reindex(both.index)
        condensers = shared["condenser"]
        means = both.groupby(condensers).mean()
        found = {"memories": crossed(*_sides(both), shared), "condensers": correlation(*_sides(means))}
        lines += [{"loss": name, "over": over, **_fields(one)} for over, one in found.items()]
        said = ", ".join(f"{one} over {over}" for over, one in found.items())
        say(f"rank correlation of a small loss of {name} with accuracy: {said}")
        path = analysis.out / f"loss-{name}.png"
        figures.losses(both, condensers, name, f"Spearman {said}", _marks(analysis), path)
    _write(analysis, "correlations.csv", pd.DataFrame(lines))


def _sides(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    return frame["loss"], frame["accuracy"]


def _fields(found: Correlation) -> dict[str, object]:
    return {"spearman": found.value, "low": found.low, "high": found.high, "n": found.n}


def _by_memory(rows: pd.DataFrame, metric: str) -> pd.Series:
    return rows[rows["metric"] == metric].groupby("memory_checksum")["value"].mean()


def origins(subjects: Sequence[Subject]) -> pd.DataFrame:
    """What each memory may share with others, by its checksum: the `condenser`, and the `draw` that its seed names.

    Condensers use the same seeds, so their memories share draws. A published memory, which has no seed, shares
    its draw with none.
    """
    found = {one.memory.checksum: (one.shown, one.memory.metadata.get("seed", one.memory.checksum)) for one in subjects}
    return pd.DataFrame.from_dict(found, orient="index", columns=["condenser", "draw"])


def _table(rows: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """A row per condenser and images per class, an `Interval` over memories in a column per metric."""
    rows = rows.assign(class_order=0)
    order = rows.drop_duplicates(["condenser", "ipc_decoded"])[["condenser", "ipc_decoded"]]
    lines = []
    for name, images in order.itertuples(index=False):
        own = rows[(rows["condenser"] == name) & (rows["ipc_decoded"] == images)]
        found = {metric: interval(own[own["metric"] == metric].set_index(MEMORY)["value"]) for metric in metrics}
        lines.append({"condenser": name, "images per class": images, **found})
    return pd.DataFrame(lines)


def _long(table: pd.DataFrame) -> pd.DataFrame:
    """The table as a CSV holds it: a line per number."""
    return pd.DataFrame(
        [
            {
                "condenser": row["condenser"],
                "images per class": row["images per class"],
                "metric": metric,
                "mean": value.mean,
                "low": value.low,
                "high": value.high,
                "n": value.n,
            }
            for _, row in table.iterrows()
            for metric, value in row.items()
            if isinstance(value, Interval)
        ]
    )


def _shown(table: pd.DataFrame, percent: bool = False, over: str = "memories") -> str:
    shown = table.map(lambda value: _said(value, percent) if isinstance(value, Interval) else value)
    unit = "percent; " if percent else ""
    return f"{shown.to_string(index=False)}\n{unit}95 % intervals over {over}; networks are averaged within each"


def _said(value: Interval, percent: bool) -> str:
    if percent:
        return str(value)
    ends = "" if value.method == "none" else f" [{value.low:z.3g}, {value.high:z.3g}]"
    return f"{value.mean:z.3g}{ends} n={value.n}"


def _write(analysis: Analysis, name: str, frame: pd.DataFrame) -> None:
    write_csv(analysis.out / name, frame)
