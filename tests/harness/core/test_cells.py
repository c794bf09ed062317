"""Cells: each is run once, whoever shares the folder and whoever is killed."""

import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import optuna
import pandas as pd
import pytest

from harness.core.cells import run_cells, unfinished, work_of
from harness.core.progress import Lines
from harness.core.queue import Sharing
from harness.core.records import PAUSE
from harness.core.studies import HEARTBEAT
from harness.core.work import Work

from . import cells_worker
from .cells_worker import cell_of, cells, records_in, rows_of

KEYS = [cell.key for cell in cells(0)]


def start(folder, seconds, *storage):
    command = [sys.executable, cells_worker.__file__, str(folder), str(seconds), *storage]
    environment = os.environ | {HEARTBEAT: "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    """Cells that a process began, after its happy end."""
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""
    return said.split()


def killed_amid(process, begun):
    """What it had begun when it was killed, which was in its cell of that number."""
    said = [process.stdout.readline().strip() for _ in range(begun)]
    process.kill()
    process.communicate()
    return said


def table(folder):
    return records_in(folder).read().sort_values(["cell", "step"], ignore_index=True)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    run_cells(cells(0), records_in(folder), "numbers")
    return table(folder)


def test_every_cell_is_run_once_and_in_order(tmp_path, capsys):
    records = records_in(tmp_path)
    run_cells(cells(0), records, "numbers")
    assert capsys.readouterr().out.split() == KEYS
    assert records.rows() == [row for key in KEYS for row in rows_of(key)]
    run_cells(cells(0), records, "numbers")
    assert capsys.readouterr().out == ""


def test_finished_cells_are_left_out(tmp_path, capsys):
    records = records_in(tmp_path)
    records.append(rows_of("cell-05"))
    assert [cell.key for cell in unfinished(cells(0), records)] == [key for key in KEYS if key != "cell-05"]
    run_cells(cells(0), records, "numbers")
    assert capsys.readouterr().out.split() == [key for key in KEYS if key != "cell-05"]


def test_two_processes_share_a_folder(alone, tmp_path):
    begun = [ended(process) for process in [start(tmp_path, 0.2), start(tmp_path, 0.2)]]
    assert sorted(begun[0] + begun[1]) == KEYS
    assert all(begun), "both had work"
    in_groups(*begun)
    pd.testing.assert_frame_equal(table(tmp_path), alone)


def in_groups(*begun):
    """What is taken together is run by one process, one after another."""
    for mine in begun:
        groups = [mine[place : place + 3] for place in range(0, len(mine), 3)]
        assert all(group == KEYS[first : first + 3] for group in groups for first in [KEYS.index(group[0])])


@pytest.mark.parametrize("begun", [1, 2, 5])
def test_killed_it_resumes_with_the_cell_it_was_in(alone, tmp_path, begun):
    said = killed_amid(start(tmp_path, 0.2), begun)
    assert records_in(tmp_path).finished() == set(KEYS[: begun - 1])
    assert ended(start(tmp_path, 0)) == [said[-1], *KEYS[begun:]]
    pd.testing.assert_frame_equal(table(tmp_path), alone)


def test_a_process_takes_over_what_another_was_killed_in(alone, tmp_path):
    first, second = start(tmp_path, 0.3), start(tmp_path, 0.3)
    (lost,) = killed_amid(first, 1)
    assert lost in ended(second)
    pd.testing.assert_frame_equal(table(tmp_path), alone)


def test_workers_of_a_storage_take_a_group_at_a_time(alone, tmp_path):
    storage = f"sqlite:///{tmp_path / 'queue.db'}"
    processes = [start(tmp_path, 0.2, storage) for _ in range(2)]
    begun = [ended(process) for process in processes]
    assert sorted(begun[0] + begun[1]) == KEYS
    in_groups(*begun)
    pd.testing.assert_frame_equal(table(tmp_path), alone)


def test_a_cell_that_another_process_runs_is_waited_for(tmp_path):
    records, own = records_in(tmp_path), cells(0)
    thread = threading.Thread(target=run_cells, args=(own, records, "numbers"))
    with records.claim("cell-00") as mine:
        assert mine
        thread.start()
        thread.join(timeout=2 * PAUSE)
        assert thread.is_alive()
        assert records_in(tmp_path).finished() == set(KEYS[1:]), "all others meanwhile"
    thread.join(timeout=60)
    assert records.finished() == set(KEYS)


def test_what_a_cell_needs_from_another_process_is_waited_for(tmp_path):
    began = time.perf_counter()

    def work():
        return rows_of("needy") if time.perf_counter() > began + PAUSE / 2 else None

    records = records_in(tmp_path)
    run_cells([cell_of("needy", work), cell_of("other")], records, "numbers")
    assert [row.cell for row in records.rows()][::3] == ["other", "needy"]


def test_a_cell_that_fails_leaves_no_rows_and_is_tried_again(tmp_path):
    def fail():
        raise ValueError("no images")

    records = records_in(tmp_path)
    with pytest.raises(ValueError, match="no images"):
        run_cells([cell_of("a"), cell_of("b", fail)], records, "numbers")
    assert records.finished() == {"a"}
    run_cells([cell_of("a", fail), cell_of("b")], records, "numbers")
    assert records.finished() == {"a", "b"}


def test_a_dashboard_shows_a_number_for_each_group(tmp_path):
    storage = f"sqlite:///{tmp_path / 'queue.db'}"
    run_cells(
        cells(0), records_in(tmp_path), "numbers", Sharing(storage), number=lambda rows: max(row.value for row in rows)
    )
    (name,) = optuna.get_all_study_names(storage)
    assert name.startswith("numbers-")
    trials = optuna.load_study(study_name=name, storage=storage).trials
    assert [trial.params for trial in trials] == [{"group": f"group-{number}"} for number in range(4)]
    assert {trial.value for trial in trials} == {1 + 2.0}


def test_two_cells_of_one_key_are_one(tmp_path, capsys):
    run_cells(cells(0) + cells(0), records_in(tmp_path), "numbers")
    assert capsys.readouterr().out.split() == KEYS


def test_what_cells_share_is_done_once():
    memories = {"memories of order 0": Work.of(5, trained=4)}
    every = [replace(cell_of(key), work=Work.of(10, forward=3), shared=memories) for key in "ab"]
    assert work_of(every) == work_of(every[:1]) + every[1].work == Work(6, 4, 60, 60)
    assert work_of([]) == Work()


def test_time_left_goes_by_counted_work(tmp_path, capsys, monkeypatch):
    """Half of the cells are a tenth of the work: they took a second, so nine are left."""
    monkeypatch.setattr(Lines, "_line", lambda self, elapsed: f"{self.n / self.total:.3f} {self.unit}")
    monkeypatch.setattr(Lines, "_say_if_due", lambda self: print(self._line(0.0)))
    works = {"a": 1e12, "b": 9e12}
    every = [replace(cell_of(key), work=Work(forward=1, forward_flop=flop)) for key, flop in works.items()]
    run_cells(every, records_in(tmp_path), "numbers")
    assert capsys.readouterr().out.splitlines() == ["0.100 1 of 2 cells", "1.000 2 of 2 cells"]


def test_costs_add_up():
    total = sum([Work.of(10, forward=3), Work.of(100, trained=2, forward=1)], Work())
    assert total == Work(forward=4, trained=2, forward_flop=130, trained_flop=600)


def test_a_diverged_cell_is_done(tmp_path):
    storage = f"sqlite:///{tmp_path / 'queue.db'}"
    run_cells([cell_of("a")], records_in(tmp_path), "numbers", Sharing(storage))
    (name,) = optuna.get_all_study_names(storage)
    assert [trial.value for trial in optuna.load_study(study_name=name, storage=storage).trials] == [-math.inf]
