"""What `harness.targets` writes and prints."""

import pandas as pd

from harness.core.flags import check_bounds
from harness.core.progress import say
from harness.core.records import write_csv
from harness.evidence.published import NOT_RUN
from harness.evidence.sources import read_folders
from harness.targets.comparing import compare
from harness.targets.flags import Targets

NAME = "targets.csv"
SHOWN = ["source", "table", "dataset", "images per class", "method", "trained", "metric"]


def report(config: Targets) -> None:
    """Write targets.csv and print what it says.

    Raises:
        ValueError: a folder is not there or holds nothing, or a file in it cannot be read: without that file, another
            measurement might stand beside a number.
    """
    check_bounds(config)
    found = read_folders(config.folders, without=(NAME,))
    if found.problems:
        raise ValueError(found.problems[0])
    frame = compare(found)
    path = (config.out or config.folders[0]) / NAME
    write_csv(path, frame)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in frame["verdict"].value_counts().items())
    settled = frame[frame["verdict"] != NOT_RUN]
    if len(settled):
        say(_shown(settled))
    beside = int((frame["ours"].notna() & (frame["verdict"] == NOT_RUN)).sum())
    say(f"{len(frame)} published numbers: {counts}; beside {beside} that are {NOT_RUN} stands what is nearest")
    say(f"table: {path}")


def _shown(frame: pd.DataFrame) -> str:
    """Lines for the terminal, in the units of their metrics."""
    shown = frame[SHOWN].copy()
    shown["published"] = [f"{value:g}" for value in frame["published"]]
    ends = zip(frame["ours"], frame["low"], frame["high"], strict=True)
    shown["ours"] = [f"{mean:.4g} [{low:.4g}, {high:.4g}]" for mean, low, high in ends]
    shown["memories x networks"] = [f"{n}x{k}" for n, k in zip(frame["memories"], frame["networks"], strict=True)]
    shown["verdict"] = frame["verdict"]
    return shown.to_string(index=False)
