"""Score a grid of condensers, sizes and networks, beside the published numbers.

    python -m harness.table                                                        digits, quick on a CPU: a minute
    python -m harness.table --dataset cifar10 --ipc 1 10 50 --condensers dm dsa ours --protocol paper
    python -m harness.table --table 4 --protocol paper          the grid of DDM's Table 4: across architectures

Every point of the grid has --memories memories, each of them --networks networks. Accuracies are averaged over the
networks of a memory, intervals are over memories. Each league has a table of its own, and so have condensers that
decode several images from a stored one.

Where a number is published, the verdict is the first of these that fits: not run, with fewer than 3 memories of 5
networks each, or not under the paper's evaluation; other evaluation, if the published number was measured in another
way; exceeded, if the published number is below the interval; reproduced, if the interval is at most 1 point to either
side and holds the published number; else not reproduced.

Writes results.csv (a row per network), table.csv (a row per point, with costs and verdicts), differences.csv (every two
points and condensers of a league against each other, paired by memory), cost.png and the memories.
The same command again goes on where it stopped.
"""

from harness.core.command import command
from harness.table.flags import Table


def main(config: Table) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.core.points import print_left, run
    from harness.table.report import report
    from harness.table.tabulation import prepare

    tabulation = prepare(config)
    asked = tabulation.points, tabulation.records
    if config.dry_run:
        return print_left(*asked)
    run(*asked, "table", tabulation.sharing)
    return report(tabulation)


if __name__ == "__main__":
    command(Table, main, __doc__)
