"""Compare condensers on a class-incremental stream: condense each step, retrain from the memory, test on all seen.

    python -m harness.continual                                 digits, quick on a CPU: 20 s on two cores
    python -m harness.continual --dataset cifar100 --steps 5    the field's benchmark: paper on CUDA, quick on a CPU

Writes results.csv (one row per cell, network and metric), differences.csv (every two lines against each other, paired
by memory, after each step), accuracy.png and the memories into the output folder. The same command again goes on where
it stopped.
"""

from harness.continual.flags import Continual
from harness.core.command import command


def main(config: Continual) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.continual.experiment import prepare

    experiment = prepare(config)
    if config.dry_run:
        from harness.continual.dry_run import print_left

        return print_left(experiment)
    from harness.continual.report import report
    from harness.continual.stream import configs, run

    run(experiment)
    return report(experiment, configs(experiment))


if __name__ == "__main__":
    command(Continual, main, __doc__)
