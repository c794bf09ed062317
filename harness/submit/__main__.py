"""Enter memories of any project into the leaderboard: check them, score them, write a row for each.

    python -m harness.submit a.pt b.pt c.pt --method mine --dataset cifar10 --protocol paper --cost-minutes 90 \
        --hardware "one A100" --paper "Authors, Title, Venue Year"
    python -m harness.submit out/memories/mine-*.safetensors --method mine --trained-on-real no

The files are memories of one method, as many as there are replicates. A protocol is taken whole: no flag changes how
networks are trained. The league follows from what is in the files and from what you state: strict, if as many images
are decoded as stored, labels are hard, and no network saw real labels; it must be that of --league, if given. Refused
are memories with more images of one class than of another, the same memory twice, and copies of test images, mirrored
or not.

Writes results.csv (a row per network) and submissions.csv (a row per memory: its checksum, the command, the cost as
stated) into --out, results/leaderboard; add both and the files by a pull request (CONTRIBUTING.md).
"""

from harness.core.command import command
from harness.submit.flags import Submit


def main(config: Submit) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.submit.submitting import submit

    submit(config)


if __name__ == "__main__":
    command(Submit, main, __doc__)
