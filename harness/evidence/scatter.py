"""The figure of one proxy: what every architecture reaches on it, and on the whole set."""

from pathlib import Path
from typing import TYPE_CHECKING

from harness.evidence.figures import COLOURS, GREY, MARKERS, blank_axes, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axis import Axis

NORMS = {"NN": "no norm", "BN": "batch norm", "LN": "layer norm", "IN": "instance norm", "GN": "group norm"}
# On a logarithmic scale of errors good architectures, which differ by little, are as far apart as bad ones.
ERRORS = (80, 60, 40, 30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1)
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
    figure, axes = blank_axes()
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
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_xlabel(f"validation accuracy, trained on {row['proxy']} (%)")
    axes.set_ylabel("test accuracy, trained on the whole set (%)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8, handletextpad=0.3)
    figure.text(0.1, 0.945, f"{row['proxy']}: Spearman {row['spearman']}", fontsize=12, fontweight="bold")
    for height, line in zip((0.9, 0.865), _lines(row), strict=True):
        figure.text(0.1, height, line, fontsize=8, color=GREY)
    # The tight box makes room for the legend.
    save_figure(figure, path, bbox_inches="tight", pad_inches=0.12)


def _mark(axis: "Axis", errors: "pd.Series") -> None:
    """Accuracies as marks of a scale of errors, the best at its far end."""
    axis.set_inverted(True)
    shown = [error for error in ERRORS if errors.min() / 1.5 <= error <= errors.max() * 1.5]
    axis.set_ticks(shown, labels=[f"{100 - error:g}" for error in shown])
    axis.set_ticks([], minor=True)


def _lines(row: dict[str, object]) -> tuple[str, str]:
    ceiling = f"; noise ceiling {row['noise_ceiling']}" if "noise_ceiling" in row else ""
    return (
        f"{row['dataset']}, {row['space']}: {row['stored_images']} stored images, {row['steps']} steps; "
        f"whole set: {row['whole_recipe']}{ceiling}",
        f"chosen: {choice(row)}, {100 * row['accuracy']:.1f} %, {100 * row['regret']:.1f} points below the best",
    )


def choice(row: dict[str, object]) -> str:
    """The chosen architecture of a summary row; if several tie, the first of them and how many more."""
    first, *others = (name.removeprefix("ConvNet-") for name in row["chosen"])
    return f"{first} (+{len(others)})" if others else first
