"""Compare variants of a method in lockstep.

    python -m harness.ablate                                   DDM's components on digits, quick on a CPU: a minute
    python -m harness.ablate --dataset cifar10 --grid components k blocks readings --protocol paper

Grids are declared by the methods' own files (--list). All variants of all grids are condensed in lockstep, so that they
share every draw: differences to a grid's base are paired by memory. Every variant is known to the other commands by the
name that the table shows.

Accuracies are on held-out training images unless --test is given. Writes results.csv (a row per network), ablate.csv (a
row per variant), ablate.png and the memories. The same command again goes on where it stopped.
"""

from harness.ablate.flags import Ablate
from harness.core.command import command


def main(config: Ablate) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.ablate.grids import prepare
    from harness.ablate.report import report
    from harness.core.points import print_left, run

    ablation = prepare(config)
    of_point = (ablation.point,), ablation.names, ablation.records
    if config.dry_run:
        return print_left(*of_point)
    run(*of_point, "ablate", ablation.storage, ablation.workers)
    return report(ablation)


if __name__ == "__main__":
    command(Ablate, main, __doc__)
