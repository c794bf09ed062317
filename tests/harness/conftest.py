"""What the tests of commands share."""

import pytest
from matplotlib.figure import Figure

from harness.nas import tables


@pytest.fixture(scope="session", autouse=True)
def unpublished(tmp_path_factory):
    """No whole-set table comes with the code, or networks that tests wait for would not be trained.

    Yields the folder of the real ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        real = tables.PUBLISHED
        patch.setattr(tables, "PUBLISHED", tmp_path_factory.mktemp("unpublished"))
        yield real


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, with their artists."""
    seen, savefig = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *rest, **named: (seen.append(self), savefig(self, *rest, **named))
    )
    return seen
