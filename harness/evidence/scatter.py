"""The figure of one proxy: what every architecture reaches on it, and on the whole set."""

from pathlib import Path
from typing import TYPE_CHECKING

from harness.evidence.figures import COLOURS, MARKERS, NAME, blank, head, plain, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axis import Axis

NORMS = {"NN": "no norm", "BN": "batch norm", "LN": "layer norm", "IN": "instance norm", "GN": "group norm"}
# Errors in percent that axes mark. Axes are logarithmic, so that good architectures, which differ by little, are as far
# apart as bad ones.
ERRORS = (80, 60, 40, 30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1)
FINE = (90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 25, 20, 15, 10)  # if errors differ by little
LITTLE = 5  # the largest error over the smallest
SMALLEST = 0.05


def scatter(sides: "pd.DataFrame", row: dict[str, object], path: Path) -> None:
    """Whole-set against proxy accuracy: a point per architecture, coloured by norm, the chosen ones ringed.

    Both axes are logarithmic in the error. Networks that diverged are drawn at zero.

    Args:
        sides: `proxy` and `whole` accuracies as fractions, and `norm`, by architecture.
        row: the proxy's summary row.
        path: the PNG to write.

    Raises:
        ValueError: a path that cannot be written.
    """
    figure = blank(6.4, 4.4)
    axes = plain(figure.add_axes((0.1, 0.12, 0.72, 0.67)), "both")
    errors = (100 - 100 * sides[["proxy", "whole"]].fillna(0)).clip(lower=SMALLEST)
    for place, (norm, name) in enumerate(NORMS.items()):
        of_norm = errors[sides["norm"] == norm]
        look = {"color": COLOURS[place], "marker": MARKERS[place], "label": name}
        axes.scatter(of_norm["proxy"], of_norm["whole"], s=24, alpha=0.7, linewidth=0, **look)
    chosen = errors.loc[list(row["chosen"])]
    axes.scatter(chosen["proxy"], chosen["whole"], s=110, facecolor="none", edgecolor="black", label="chosen")
    axes.set(xscale="log", yscale="log")
    _mark(axes.xaxis, errors["proxy"])
    _mark(axes.yaxis, errors["whole"])
    axes.set_xlabel(f"validation accuracy, trained on {row['proxy']} (%)")
    axes.set_ylabel("test accuracy, trained on the whole set (%)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=NAME, handletextpad=0.3)
    head(figure, 0.1, f"{row['proxy']}: Spearman {row['spearman']}", _lines(row))
    # The tight box makes room for the legend.
    save_figure(figure, path, bbox_inches="tight", pad_inches=0.12)


def _mark(axis: "Axis", errors: "pd.Series") -> None:
    """Mark an axis of errors with accuracies, the best at its far end."""
    axis.set_inverted(True)
    least, most = errors.min(), errors.max()
    marks, beyond = (FINE, 1.1) if 10 < most <= LITTLE * least else (ERRORS, 1.5)
    shown = [error for error in marks if least / beyond <= error <= most * beyond]
    axis.set_ticks(shown, labels=[f"{100 - error:g}" for error in shown])
    axis.set_ticks([], minor=True)


def _lines(row: dict[str, object]) -> tuple[str, ...]:
    ceiling = f"; noise ceiling {row['noise_ceiling']}" if "noise_ceiling" in row else ""
    return (
        f"{row['dataset']}, {row['space']}: {row['stored_images']} stored images, {row['steps']} steps; "
        f"whole set: {row['whole_recipe']}{ceiling}",
        f"chosen: {choice(row)}, {100 * row['accuracy']:.1f} %, {100 * row['regret']:.1f} points below the best",
        f"both axes are logarithmic in the error; 95 % intervals over architectures, of {_behind(row)}",
    )


def _behind(row: dict[str, object]) -> str:
    counts = ((row["memories"], "memory", "memories"), (row["networks"], "network", "networks"))
    return " and ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts)


def choice(row: dict[str, object]) -> str:
    """The chosen architecture of a summary row; if several tie, the first of them and how many more."""
    first, *others = (name.removeprefix("ConvNet-") for name in row["chosen"])
    return f"{first} (+{len(others)})" if others else first
