"""The rows of a survey of architectures, side by side: what each reaches on a proxy, and on the whole set."""

from typing import TYPE_CHECKING

from harness.core.protocols import WHOLE

if TYPE_CHECKING:
    import pandas as pd


def paired(rows: "pd.DataFrame", proxy: str) -> "pd.DataFrame":
    """Accuracies of each architecture by its name: columns `proxy`, `whole` and `proxy_test`, and its `norm`."""
    whole, other = rows[is_first(rows)].set_index("architecture"), networks_of(rows, proxy)
    sides = {
        "proxy": _mean(other, "validation_accuracy"),
        "whole": whole["test_accuracy"],
        "proxy_test": _mean(other, "test_accuracy"),
    }
    return whole[["norm"]].assign(**sides).loc[sides["proxy"].index]


def is_first(rows: "pd.DataFrame") -> "pd.Series":
    """Which rows are the first network of an architecture on the whole set: what proxies are compared with."""
    return (rows["proxy"] == WHOLE) & (rows["network_replicate"] == 0)


def networks_of(rows: "pd.DataFrame", proxy: str) -> "pd.DataFrame":
    """The rows of a proxy, of all its memories and networks."""
    # The first whole-set network is what proxies are compared with, so it is not itself a proxy's.
    return rows[(rows["proxy"] == proxy) & ~is_first(rows)]


def _mean(rows: "pd.DataFrame", column: str) -> "pd.Series":
    # pandas' mean would drop the nan of a network that diverged, and so flatter its architecture.
    return rows.groupby("architecture")[column].agg(lambda group: group.to_numpy(float).mean())
