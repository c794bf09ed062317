"""Rank the architectures of a search space on a proxy, and compare with the ranks they have on the whole set.

    python -m harness.nas --proxy ours                          digits, quick on a CPU: 4 minutes on one thread
    python -m harness.nas --dataset cifar10 --protocol paper --proxy random dm ours --subset 72

    python -m harness.nas --proxy ours --search tpe evolution random        40 trials each instead of all of the space

Writes results.csv (one row per architecture, proxy and replicate), summary.csv (one row per proxy), a figure per proxy
and the memories into the output folder; a search writes search.csv (one row per trial), the regret of its trials, a
summary and figures. The same command again goes on where it stopped.
"""

from harness.core.command import command
from harness.nas.flags import Nas


def main(config: Nas) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.nas.survey import prepare

    survey, wanted = prepare(config), (config.search, config.trials, config.searches)
    if config.dry_run:
        from harness.nas.dry_run import print_left, print_searches

        return print_searches(survey, *wanted) if config.search else print_left(survey)
    if config.search:
        from harness.nas.search import run_searches
        from harness.nas.search_report import report_searches

        return report_searches(survey, run_searches(survey, *wanted, config.storage, config.workers))
    from harness.nas.candidates import run
    from harness.nas.verdict import report

    return report(survey, run(survey, config.storage, config.workers, config.merge))


if __name__ == "__main__":
    command(Nas, main, __doc__)
