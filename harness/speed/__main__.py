"""Measure this machine: plain loops as the field publishes them against this core, taking turns in one run.

    python -m harness.speed --methods dm --datasets cifar10 --ipc 10 --what condense      minutes on two CPU cores
    python -m harness.speed --datasets digits --network ConvNet-W8-D2 --seconds 0.1       a minute, to see it work
    python -m harness.speed                                                               everything

Images are random, no data set is read. Writes speed.csv (a row for each competitor and turn) and speed.png into the
output folder. The same command goes on where it stopped, and measures anew on another machine or at other code.
"""

from harness.core.command import command
from harness.speed.flags import Speed


def main(config: Speed) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.speed.contest import run

    return run(config)


if __name__ == "__main__":
    command(Speed, main, __doc__)
