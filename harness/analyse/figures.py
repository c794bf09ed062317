"""Figures of an analysis: texture, styles in two dimensions, drift, and losses against accuracies."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.evidence.figures import blank, head, look, plain, save_figure
from harness.evidence.sources import CONTROL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PERPLEXITY = 30
SHOWN_CLASS = 0
SEEN = {  # by measure: a title, and what is embedded
    "style gap": ("Style of memories among real images", "the mean and deviation of first-layer maps"),
    "diversity": ("Embeddings of memories among those of real images", "a network's last features"),
}

Marks = dict[str, dict[str, str]]


def marks(names: Sequence[str], real: str) -> Marks:
    """Colour and marker of each condenser, the same in all figures of an analysis; `real` images are grey dots."""
    others = [name for name in dict.fromkeys(names) if name != real]
    return {real: {"color": "#bbbbbb", "marker": "."}} | {name: _mark(place) for place, name in enumerate(others)}


def texture(rows: "pd.DataFrame", metrics: tuple[str, str], marked: Marks, path: Path) -> None:
    """Entropy against dissimilarity: a point per memory, a colour per condenser.

    Args:
        rows: the rows of measures.
        metrics: the metrics of both axes: dissimilarity, then entropy.
        marked: colour and marker of each condenser, from `marks`.
        path: the PNG to write.
    """
    figure, axes = _axes()
    sides = rows[rows["metric"].isin(metrics)].pivot_table(
        index=["condenser", "ipc_decoded", "memory_replicate"], columns="metric", values="value"
    )
    for name in rows["condenser"].unique():
        own = sides.xs(name)
        axes.scatter(own[metrics[0]], own[metrics[1]], s=36, label=name, **marked[name])
    axes.set_xlabel("dissimilarity of neighbouring grey levels")
    axes.set_ylabel("entropy of their co-occurrence (bits)")
    _finish(figure, axes, "Texture of memories and of real images", _about(rows), path)


def embedded(points: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
    """Places `[n, 2]` of points `[n, d]` by t-SNE, all of them at once."""
    from sklearn.manifold import TSNE

    together = np.concatenate(list(points.values()))
    places = TSNE(perplexity=min(PERPLEXITY, (len(together) - 1) / 3), random_state=0).fit_transform(together)
    ends = np.cumsum([len(own) for own in points.values()])
    return dict(zip(points, np.split(places, ends[:-1]), strict=True))


def among_real(
    places: "dict[str, np.ndarray]", values: "dict[str, float]", metric: str, about: str, marked: Marks, path: Path
) -> None:
    """Images of one class in two dimensions: where those of memories lie among real ones.

    Args:
        places: `[n, 2]` by condenser, the real images' first.
        values: the measure of each condenser, which stands beside its name.
        metric: the name of that measure, a key of `SEEN`.
        about: what the images are.
        marked: colour and marker of each condenser, from `marks`.
        path: the PNG to write.
    """
    figure, axes = _axes()
    for name, own in places.items():
        label = f"{name}  {values[name]:.2f}" if name in values else name
        axes.scatter(own[:, 0], own[:, 1], s=24, label=label, **marked[name])
    axes.set(xticks=[], yticks=[])
    title, axis = SEEN[metric]
    axes.set_xlabel(f"t-SNE of {axis}; no unit")
    _finish(figure, axes, title, f"{about}; numbers: {metric} over all classes", path)


def drifts(table: "pd.DataFrame", ratios: Sequence[float], base: str, about: str, marked: Marks, path: Path) -> None:
    """Accuracy against the drift ratio: a line per memory whose style is drifted to, with intervals.

    Args:
        table: a row per condenser and images per class, with an `Interval` for each ratio in order behind these two.
        ratios: of the columns.
        base: whose style drifts.
        about: what was trained.
        marked: colour and marker of each condenser, from `marks`.
        path: the PNG to write.
    """
    figure, axes = _axes()
    for place, row in enumerate(table.itertuples(index=False)):
        mean, low, high = (100 * np.array([getattr(one, end) for one in row[2:]]) for end in ("mean", "low", "high"))
        maker = row[0].removesuffix(CONTROL)
        name = f"{row[0]}, {row[1]} per class" if table.iloc[:, 1].nunique() > 1 else row[0]
        dashes = "-" if maker == row[0] else "--"
        shift = 0.008 * (place - len(table) / 2)  # so that intervals stand beside each other
        around = np.nan_to_num([mean - low, high - mean])
        drawn = {"capsize": 2, "linewidth": 1.5, "linestyle": dashes} | marked[maker]
        axes.errorbar(np.array(ratios) + shift, mean, around, label=name, **drawn)
    axes.set_xlabel("drift ratio")
    axes.set_ylabel("test accuracy (%), axis not from 0")
    axes.set_xticks(ratios)
    _finish(figure, axes, f"Style of {base} drifting to that of others", about, path)


def losses(
    sides: "pd.DataFrame", condensers: "pd.Series", objective: str, about: str, marked: Marks, path: Path
) -> None:
    """Accuracy against a matching loss: a point per memory, a colour per condenser.

    Args:
        sides: `loss`, with its sign turned, and `accuracy` by memory.
        condensers: the condenser of each memory.
        objective: name of the objective whose loss it is.
        about: which correlations were found, in words.
        marked: colour and marker of each condenser, from `marks`.
        path: the PNG to write.
    """
    figure, axes = _axes()
    for name in filter(set(condensers).__contains__, marked):
        own = sides[condensers == name]
        axes.scatter(-own["loss"], 100 * own["accuracy"], s=36, label=name, **marked[name])
    axes.set_xlabel(f"loss of {objective}")
    axes.set_ylabel("accuracy (%), axis not from 0")
    _finish(figure, axes, f"Does a small loss of {objective} mean a good memory?", about, path)


def _axes() -> "tuple[Figure, Axes]":
    figure = blank(6.4, 4.4)
    return figure, plain(figure.add_axes((0.1, 0.12, 0.72, 0.72)))


def _mark(place: int) -> dict[str, str]:
    return {name: value for name, value in look(place).items() if name != "linestyle"}


def _about(rows: "pd.DataFrame") -> str:
    first, sizes = rows.iloc[0], sorted(rows["ipc_decoded"].unique())
    return f"{first['dataset']}, {' and '.join(map(str, sizes))} images per class; a point per memory"


def _finish(figure: "Figure", axes: "Axes", title: str, about: str, path: Path) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8, handletextpad=0.3)
    head(figure, 0.1, title, [about])
    # The tight box makes room for the legend.
    save_figure(figure, path, bbox_inches="tight", pad_inches=0.12)
