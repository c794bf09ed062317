"""What `harness.analyse` found: measures of memories, drift of style, and whether a matching loss predicts accuracy."""

import pandas as pd

from harness.evidence.sources import CONTROL
from harness.report import charts
from harness.report.content import Figure, Found, Section, Source, drawn, shown, slug

ABOUT = {
    "style gap": "Distance of mean first-layer styles from real images', in standard deviations of these.",
    "diversity": "Distance of embeddings from their nearest neighbours in the class; 1 is that of as many real images.",
    "GLCM dissimilarity": "Difference of neighbouring grey levels, of 32.",
    "GLCM entropy": "Of co-occurring grey levels, in bits.",
}
LOSS = "loss of "
REAL = "real"
EMBEDDED = {"style gap": "first-layer styles", "diversity": "embeddings"}


def section(found: Found) -> Section:
    """A chart for each measure and each set of drifts, a table of correlations."""
    parts = [
        drawn(found, kind, draw)
        for kind, draw in (
            ("correlations.csv", _correlations),
            ("analysis.csv", _measures),
            ("tsne.csv", _among_real),
            ("drift.csv", _drifts),
        )
    ]
    intro = (
        "Networks of random weights look at memories and at real images. Intervals are over memories; real stands for "
        "samples of as many real images as a memory has."
    )
    figures, problems = ([one for part in side for one in part] for side in zip(*parts, strict=True))
    return Section("analyses", "Analyses", intro, figures, problems=problems)


def _correlations(source: Source) -> list[Figure]:
    rows = source.frame.dropna(subset=["spearman"])
    if rows.empty:
        return []
    name = rows["loss"] + ", over " + rows["over"]
    numbers = pd.DataFrame({"loss": name, "Spearman": rows["spearman"], "low": rows["low"], "high": rows["high"]})
    numbers["n"] = rows["n"].astype(int)
    title = f"{source.path.parent.name}: does a small loss mean a good memory?"
    frame = numbers.iloc[:, :4].set_axis(["name", "mean", "low", "high"], axis=1)
    alt = f"{title} Rank correlations of {len(rows)} losses with accuracy, with 95 % intervals."
    return [
        Figure(
            slug("loss", source.path.parent),
            title,
            "Spearman's rank correlation of a small matching loss with accuracy, with 95 % intervals.",
            alt,
            (source,),
            numbers,
            charts.intervals(frame, alt, "Spearman's correlation", reference=0.0, digits=".2f"),
        )
    ]


def _measures(source: Source) -> list[Figure]:
    return [
        _chart(source, metric, rows, ABOUT.get(str(metric), "The objective on real images, without augmentation."))
        for metric, rows in source.frame.groupby("metric", sort=False)
    ]


def _chart(source: Source, metric: str, rows: pd.DataFrame, note: str) -> Figure:
    several = rows["images per class"].nunique() > 1
    name = rows["condenser"] + (", " + rows["images per class"].astype(int).astype(str) if several else "")
    ends = {f"{metric} {end}": rows[end] for end in ("low", "high")}
    numbers = pd.DataFrame({"memory": name, metric: rows["mean"], **ends})
    numbers["memories"] = rows["n"].astype(int)
    title = f"{source.path.parent.name}: {metric}"
    alt = f"{title}, of {len(rows)} kinds of memory, with 95 % intervals over memories."
    frame = numbers.iloc[:, :4].set_axis(["name", "mean", "low", "high"], axis=1)
    chart = charts.intervals(frame, alt, metric, digits=".3g", log=metric.startswith(LOSS))
    return Figure(slug("measure", source.path.parent, metric), title, note, alt, (source,), numbers, chart)


def _among_real(source: Source) -> list[Figure]:
    """Charts of one class's images in two dimensions, with the measure over all classes in the legend."""
    return [
        _embedding(source, str(metric), rows)
        for metric, rows in source.frame.groupby("metric", sort=False)
        if REAL in set(rows["condenser"]) and rows["condenser"].nunique() > 1
    ]


def _embedding(source: Source, metric: str, rows: pd.DataFrame) -> Figure:
    numbers = rows[["condenser", "x", "y", "value"]].rename(columns={"condenser": "memory", "value": metric})
    values = rows.drop_duplicates("condenser").set_index("condenser")["value"]
    named = {name: f"{name}, {metric} {shown(value, metric)}" for name, value in values.items()}
    frame = numbers[["memory", "x", "y"]].replace({"memory": named})
    title = f"{source.path.parent.name}: {EMBEDDED.get(metric, metric)} by t-SNE, class {rows['class'].iloc[0]}"
    alt = f"{title}: images of {len(values) - 1} memories, one of them at a time, among {_many(rows, REAL)} real ones."
    note = (
        f"DDM, Figure 1a-b, on one network of random weights. Distances of far points mean little; the {metric} beside "
        "each name is over all classes."
    )
    choices = [name for key, name in named.items() if key != REAL]
    chart = charts.among(frame, alt, named[REAL], choices)
    return Figure(slug("tsne", source.path.parent, metric), title, note, alt, (source,), numbers, chart)


def _many(rows: pd.DataFrame, name: str) -> int:
    return int((rows["condenser"] == name).sum())


def _drifts(source: Source) -> list[Figure]:
    rows = source.frame
    sizes = ", " + rows["images per class"].astype(str) + " per class"
    numbers = pd.DataFrame(
        {
            "style of": rows["condenser"] + (sizes if sizes.nunique() > 1 else ""),
            "drift": rows["metric"].str.rpartition(" ")[2].astype(float),
            "accuracy (%)": 100 * rows["mean"],
            "low (%)": 100 * rows["low"],
            "high (%)": 100 * rows["high"],
            "targets": rows["n"].astype(int),
        }
    )
    title = f"{source.path.parent.name}: accuracy while the first feature map's style drifts to that of other memories"
    note = (
        "DDM, Figure 1c-d. Networks are trained on one memory; intervals of 95 % are over the targets, memories that "
        "its style drifts to."
    )
    if rows["condenser"].str.endswith(CONTROL).any():  # not in older files
        note += " Its own mean style is the control. At 0 nothing drifts, so there is one run."
    alt = f"{title}: {numbers['style of'].nunique()} lines, with 95 % intervals over the memories drifted to."
    frame = numbers.set_axis(["line", "x", "mean", "low", "high", "n"], axis=1)
    frame = frame.assign(name=frame["line"], style="")
    chart = charts.curves(frame, alt, "drift", "accuracy (%), axis not from 0", list(dict.fromkeys(frame["line"])))
    return [Figure(slug("drift", source.path.parent), title, note, alt, (source,), numbers, chart)]
