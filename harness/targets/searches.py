"""Numbers of architecture surveys: accuracy of what a proxy chooses, rank correlation of the best, and minutes."""

import math
from collections.abc import Iterator

from harness.core.protocols import EARLY, WHOLE
from harness.evidence.intervals import Interval
from harness.evidence.published import PAPER, SPLIT, SPLITS
from harness.evidence.sources import Found, Source
from harness.targets.measured import Measured, require_counts, require_within

TOPS = ("top_36_by_proxy", "top_30_by_proxy")  # 5 % of 720; the authors also name 30
SPACE, EPOCHS, WHOLE_TRAINING = 720, 200, "paper-200"  # what the paper says of its searches


def searches(found: Found) -> Iterator[Measured]:
    """The numbers in the summaries of surveys."""
    for source in found.of("summary.csv"):
        require_counts(source, "ipc_stored", "memories", "networks", "architectures")
        require_within(source, 0, 1, "accuracy")
        require_within(source, 0, math.inf, "minutes", "whole_minutes")
        require_within(source, -1, 1, *(name for top in TOPS for name in (top, *_ends(top)) if name in source.frame))
        for row in source.frame.to_dict("records"):
            if _of_papers_images(row):
                yield from _of_proxy(source, row)
        for row in filter(_of_papers_images, source.frame[:1].to_dict("records")):
            yield _of_whole(source, row)


def _of_papers_images(row: dict[str, object]) -> bool:
    """Whether a survey is of the paper's images, as far as checksums are known: --resolution does not change names."""
    known = SPLITS.get(str(row["dataset"])) if row.get("validation") == SPLIT else None
    return known in (None, row.get("dataset_checksum"))


def _of_proxy(source: Source, row: dict[str, object]) -> Iterator[Measured]:
    yield _measured(source, row, "accuracy_of_chosen", row["proxy"], "chosen", row["accuracy"])
    if top := next((name for name in TOPS if not math.isnan(row.get(name, math.nan))), None):
        ends = (row.get(end, math.nan) for end in _ends(top))
        said = f"{top.split('_')[1]} best by the proxy"
        yield _measured(source, row, "spearman_of_top", row["proxy"], said, row[top], *ends)
    if row["proxy"] not in (EARLY, WHOLE):
        # The minutes of one search: those of a summary add up all memories and networks of a proxy.
        yield _measured(source, row, "minutes", "any", "all", row["minutes"] / (row["memories"] * row["networks"]))


def _of_whole(source: Source, row: dict[str, object]) -> Measured:
    """The minutes of the whole set's first networks, which every line of a summary repeats."""
    one = row | {"proxy": WHOLE, "recipe": row["whole_recipe"], "memories": 1, "networks": 1}
    return _measured(source, one, "minutes", WHOLE, "all", row["whole_minutes"])


def _ends(top: str) -> tuple[str, str]:
    return f"{top}_low", f"{top}_high"


def _measured(
    source: Source,
    row: dict[str, object],
    metric: str,
    condenser: str,
    what: str,
    value: float,
    low: float = math.nan,
    high: float = math.nan,
) -> Measured:
    asked = row["space_size"], row["architectures"], row["epochs"], row["whole_recipe"]
    rests = f"{int(row['architectures'])} of {row['space']}, whole set by {row['whole_recipe']}"
    return Measured(
        metric=metric,
        dataset=row["dataset"],
        ipc="all" if row["proxy"] == WHOLE else str(int(row["ipc_stored"])),
        condenser=condenser,
        condensed_on="",
        trained=f"{what} of {rests}",
        value=Interval(value, low, high, int(row["memories"]), "none"),
        networks=int(row["networks"]),
        training=PAPER if asked == (SPACE, SPACE, EPOCHS, WHOLE_TRAINING) else None,
        protocol=row["recipe"],
        league="",
        source=source,
        architectures=int(row["architectures"]),
    )
