"""Rank the architectures of a search space on a proxy, and compare with the ranks they have on the whole set.

    python -m harness.nas --proxy ours                          digits, quick on a CPU: under a minute
    python -m harness.nas --dataset cifar10 --protocol paper --proxy random dm ours --subset 72

    python -m harness.nas --proxy ours --search tpe evolution random        40 trials each instead of all of the space

Writes results.csv (one row per architecture, proxy and replicate), summary.csv (one row per proxy), a figure per proxy
and the memories into the output folder. A search says which architecture won, and writes search.csv (one row per
trial), search_winners.csv (one row per search) and a summary; where whole-set accuracies are known, also the regret of
its trials, with figures. The same command again goes on where it stopped.
"""

from typing import TYPE_CHECKING

from harness.core.command import command
from harness.nas.flags import Nas

if TYPE_CHECKING:
    from harness.nas.survey import Survey


def main(config: Nas) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.nas.survey import prepare

    survey = prepare(config)
    if config.dry_run:
        from harness.nas.dry_run import print_left, print_searches

        wanted = config.search, config.trials, config.searches
        return print_searches(survey, *wanted) if config.search else print_left(survey)
    if config.search:
        return _search(config, survey)
    from harness.nas.candidates import run
    from harness.nas.verdict import report

    return report(survey, run(survey, config.merge))


def _search(config: Nas, survey: "Survey") -> None:
    from harness.nas.search import run_searches
    from harness.nas.search_report import finished, report_searches
    from harness.nas.winners import train_winners, winners

    cells = run_searches(survey, config.search, config.trials, config.searches)
    if config.train_winner:
        train_winners(survey, winners(survey, finished(survey, cells)))
    return report_searches(survey, cells)


if __name__ == "__main__":
    command(Nas, main, __doc__)
