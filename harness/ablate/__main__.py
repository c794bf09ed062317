"""Compare variants of a method in lockstep, or search over the weights and readings of its terms.

    python -m harness.ablate                                   DDM's components on digits, quick on a CPU: a minute
    python -m harness.ablate --dataset cifar10 --grid components k blocks readings --protocol paper
    python -m harness.ablate --condenser dm+sm+ridge --search weights --trials 40
    python -m harness.ablate --search weights readings          also which reading of each term

Grids are declared by the methods' own files (--list). All variants of all grids are condensed in lockstep, so that they
share every draw: differences to a grid's base are paired by memory. Every variant is known to the other commands by the
name that the table shows.

A search asks for a batch of trials at once, condenses them in one lockstep run, and scores their memories at certain
iterations, its rungs: a trial that is below the median of earlier trials there is pruned, the others go on. All trials
share the draws of one memory. The search's study is kept in --storage, and shown by optuna-dashboard.

Accuracies are on held-out training images unless --test is given; a search has no --test. Writes results.csv (a row per
network), ablate.csv (a row per variant), ablate.png and the memories; a search rungs.csv (a row per look at a trial),
trials.csv (a row per trial) and the memories of trials that were not pruned. The same command again goes on where it
stopped; with more --trials, a search that has ended goes on, too.
"""

from harness.ablate.flags import Ablate
from harness.core.command import command


def main(config: Ablate) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    if config.search:
        return _search(config)
    from harness.ablate.grids import prepare
    from harness.ablate.report import report
    from harness.core.points import print_left, run

    ablation = prepare(config)
    of_point = (ablation.point,), ablation.records
    if config.dry_run:
        return print_left(*of_point)
    run(*of_point, "ablate", ablation.sharing)
    return report(ablation)


def _search(config: Ablate) -> None:
    from harness.ablate.running import run
    from harness.ablate.search import prepare
    from harness.ablate.search_report import print_left, report

    search = prepare(config)
    if config.dry_run:
        return print_left(search)
    run(search)
    return report(search)


if __name__ == "__main__":
    command(Ablate, main, __doc__)
