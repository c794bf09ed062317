"""Draw everything that has been measured on one page: league tables, curves, searches, speeds, images and methods.

    python -m harness.report                                       results/ to results/report/index.html: half a minute
    python -m harness.report out/table out/continual/digits-5steps       these to out/table/report/index.html
    python -m harness.report results --data-root ~/data            also draws memories that are kept as indices

The page is one file that asks for nothing else: it can be mailed, or opened from a disk. `numbers.csv` beside it holds
every number that is drawn, unrounded. A report runs nothing: it reads the rows and memories of the folders that it is
given, of whatever age, and says in one line what it could not read.
"""

from harness.core.command import command
from harness.report.flags import Report


def main(config: Report) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.report.page import report

    return report(config)


if __name__ == "__main__":
    command(Report, main, __doc__)
