"""Every published number beside what was measured here, with a verdict: one CSV, made from rows in seconds.

    python -m harness.targets                                             the rows in results/ to results/targets.csv
    python -m harness.targets out/table out/continual/cifar100-5steps     these to out/table/targets.csv

A published number is compared with rows of its data set, images per class, condenser, networks and metric, on the test
set: tables of harness.table, ablations (--test), last steps of streams, and surveys of harness.nas on its split of the
training set. Of several measurements one that allows a verdict is taken first, then one under the paper's evaluation,
of the paper's protocol, of more architectures (searches), of more memories, of more networks, and last the one that
took most operations to condense; never the one that is higher.

Verdicts are those of harness.table, the first that fits: not run, unless there are at least 3 memories of 5 networks
each under the paper's evaluation; other evaluation, if the published number was measured in another way; exceeded, if
it is below the interval; reproduced, if the interval is at most 1 point to either side and holds it; else not
reproduced.
What was measured under another protocol, or too little, stands beside a number that is `not run`, with its protocol,
networks and numbers of memories and networks. Measurements of another data set or size never do.

Runs nothing. Writes targets.csv; results/FORMAT.md says what its columns are.
"""

from harness.core.command import command
from harness.targets.flags import Targets


def main(config: Targets) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.targets.report import report

    return report(config)


if __name__ == "__main__":
    command(Targets, main, __doc__)
