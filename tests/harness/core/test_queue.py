"""The queue with real processes that are killed, on SQLite and on a PostgreSQL server if one is installed."""

import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest

from harness.core import studies
from harness.core.queue import UNSHARED, Job, Sharing, _Queue, run_jobs
from harness.core.storage import shown, url_of
from harness.core.studies import HEARTBEAT, Board
from harness.core.workers import without_storage

from . import queue_worker
from .queue_worker import JOBS, NumberRow, execute_in, records_in, work

CELLS = [job.cell for job in JOBS]
COMPLETE, FAIL = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL


@pytest.fixture(autouse=True)
def quick_heartbeats(monkeypatch):
    monkeypatch.setenv(HEARTBEAT, "1")


@pytest.fixture(scope="module")
def server():
    """A server of our own, reached through a socket in a folder of its own: its URL, and what starts and stops it."""
    pytest.importorskip("psycopg")
    programs = [*Path("/usr/lib/postgresql").glob("*/bin"), *(Path(p) for p in os.environ["PATH"].split(os.pathsep))]
    folder = next((each for each in programs if (each / "initdb").exists() and (each / "pg_ctl").exists()), None)
    if folder is None:
        pytest.skip("no PostgreSQL server is installed")
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    home = Path(tempfile.mkdtemp())
    if user:
        shutil.chown(home, user)

    def run(program, *arguments):
        command = [folder / program, "-D", home / "data", *arguments]
        subprocess.run(command, check=True, user=user, cwd=home, stdout=subprocess.DEVNULL)

    run("initdb", "-A", "trust", "-U", "postgres", "--no-sync")

    def switch(on, mode="fast"):
        options = ["-w", "-l", home / "log", "-o", f"-k {home} -c listen_addresses= -c fsync=off"]
        run("pg_ctl", *(["start", *options] if on else ["stop", "-m", mode]))

    switch(on=True)
    yield f"postgresql+psycopg://postgres@/postgres?host={home}", switch
    switch(on=False, mode="immediate")
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def postgresql(server):
    return server[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def storage(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'queue.db'}"
    return request.getfixturevalue("postgresql")


@pytest.fixture
def storage_here(tmp_path):
    return f"sqlite:///{tmp_path / 'queue.db'}"


def start(folder, storage, seconds):
    command = [sys.executable, queue_worker.__file__, str(folder), storage, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    """Cells that a worker started, after its happy end."""
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors == ""
    return said.split()


def table(folder):
    return records_in(folder).read().sort_values(["cell", "step"], ignore_index=True)


def trials(storage):
    """Of the only study."""
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).trials


def cells_of(storage, state):
    return sorted(trial.user_attrs["cell"] for trial in trials(storage) if trial.state == state)


def test_three_workers_one_killed_amid_a_cell_leave_the_table_of_one(tmp_path, storage):
    work(tmp_path / "one", None)
    killed, *others = [start(tmp_path / "three", storage, 0.3) for _ in range(3)]
    lost = killed.stdout.readline().strip()
    killed.kill()
    killed.communicate()
    begun = [cell for process in others for cell in ended(process)]
    pd.testing.assert_frame_equal(table(tmp_path / "three"), table(tmp_path / "one"))
    assert sorted(begun) == CELLS, "each cell once, and the lost one again"
    assert cells_of(storage, COMPLETE) == CELLS
    assert cells_of(storage, FAIL) == [lost]
    assert len(trials(storage)) == len(CELLS) + 1
    shown = {trial.user_attrs["cell"]: trial.params for trial in trials(storage) if trial.state == COMPLETE}
    assert shown == {job.cell: job.params for job in JOBS}


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_restarted_is_waited_for(tmp_path, server, mode):
    storage, switch = server
    for name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
    workers = [start(tmp_path, storage, 0.8) for _ in range(2)]
    for worker in workers:
        worker.stdout.readline()
    switch(on=False, mode=mode)
    time.sleep(3)
    switch(on=True)
    for worker in workers:
        said, errors = worker.communicate(timeout=60)
        assert (worker.returncode, errors) == (0, "")
        lost = [line for line in said.splitlines() if "does not answer" in line]
        assert len(lost) == 1
        assert lost[0].startswith("the database postgresql+psycopg://... (the rest is not shown")
        assert "host=" not in said
    assert records_in(tmp_path).finished() == set(CELLS)
    assert len(records_in(tmp_path).rows()) == 2 * len(CELLS)
    assert set(cells_of(storage, COMPLETE)) == set(CELLS)


def test_runs_of_several_folders_can_start_on_one_fresh_storage(tmp_path, storage):
    folders = [tmp_path / str(number) for number in range(2)]
    for process in [start(folder, storage, 0) for folder in folders]:
        ended(process)
    for folder in folders:
        assert records_in(folder).finished() == set(CELLS)


def test_a_trial_that_another_run_ended_first_is_no_error_and_its_job_comes_back(tmp_path, storage_here, capsys):
    queue = _Queue(JOBS, execute_in(tmp_path), records_in(tmp_path), "numbers", url_of(storage_here, tmp_path))
    (board,) = queue.boards

    def taken_twice():
        (trial,) = board.study.get_trials(states=[optuna.trial.TrialState.RUNNING])
        board.study.tell(trial.number, 0.5)

    queue._optimize(board, taken_twice)
    assert cells_of(storage_here, COMPLETE) == CELLS[:1]
    assert records_in(tmp_path).finished() == set()
    work(tmp_path, storage_here)
    assert capsys.readouterr().out.split() == [*CELLS[1:], CELLS[0]]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_trial_taken_by_a_worker_that_died_at_once_comes_back(tmp_path, storage_here, monkeypatch):
    monkeypatch.setattr(studies, "GRACE", 1)
    records, url = records_in(tmp_path), url_of(storage_here, tmp_path)
    queue = _Queue(JOBS, execute_in(tmp_path), records, "numbers", url)
    (board,) = queue.boards
    board.study.ask()  # as Optuna takes a trial, before its heartbeats begin
    work(tmp_path, storage_here)
    assert cells_of(storage_here, COMPLETE) == CELLS
    assert cells_of(storage_here, FAIL) == [CELLS[0]]


def test_a_worker_that_slept_for_too_long_loses_its_trial_and_nothing_else(tmp_path, storage_here):
    sleeper = start(tmp_path, storage_here, 0.2)
    asleep = sleeper.stdout.readline().strip()
    sleeper.send_signal(signal.SIGSTOP)
    other = start(tmp_path, storage_here, 0.2)
    while asleep not in cells_of(storage_here, FAIL):
        assert other.poll() is None
        time.sleep(0.3)
    sleeper.send_signal(signal.SIGCONT)
    begun = ended(sleeper) + ended(other)
    assert sorted([asleep, *begun]) == CELLS
    assert records_in(tmp_path).read()["cell"].value_counts().eq(2).all()
    assert cells_of(storage_here, COMPLETE) == CELLS


def test_the_study_is_rebuilt_from_the_records(tmp_path, storage_here, capsys):
    records, execute = records_in(tmp_path), execute_in(tmp_path)
    run_jobs(JOBS[:5], execute, records, "numbers", UNSHARED)
    assert capsys.readouterr().out.split() == CELLS[:5]
    work(tmp_path, storage_here)
    assert capsys.readouterr().out.split() == CELLS[5:]
    before = {trial.user_attrs["cell"]: (trial.value, trial.params) for trial in trials(storage_here)}
    assert before["cell-3"] == (3 / 7, {"number": 3, "kind": "b"})
    assert before["cell-4"][0] == -math.inf, "a network that diverged is done"
    (tmp_path / "queue.db").unlink()
    work(tmp_path, storage_here)
    assert capsys.readouterr().out == ""
    assert {trial.user_attrs["cell"]: (trial.value, trial.params) for trial in trials(storage_here)} == before


def test_deleted_rows_are_run_again_whatever_the_study_says(tmp_path, storage_here, capsys):
    work(tmp_path, storage_here)
    path = records_in(tmp_path).path
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("cell-2")))
    capsys.readouterr()
    work(tmp_path, storage_here)
    assert capsys.readouterr().out.split() == ["cell-2"]


def test_jobs_in_another_order_share_the_study_and_other_jobs_do_not(tmp_path, storage_here):
    for jobs in (JOBS, JOBS[::-1], JOBS[:-1]):
        run_jobs(jobs, execute_in(tmp_path), records_in(tmp_path), "numbers", Sharing(storage_here))
    studies = optuna.get_all_study_summaries(storage_here)
    assert sorted(study.n_trials for study in studies) == [8, 9]


def test_a_cell_that_fails_says_why_and_is_tried_again_by_the_next_command(tmp_path, storage_here):
    def diverge(job: Job) -> float:
        if job.cell == "cell-1":
            raise ValueError("cell-1 has no images")
        return execute_in(tmp_path)(job)

    with pytest.raises(ValueError, match="cell-1 has no images"):
        run_jobs(JOBS, diverge, records_in(tmp_path), "numbers", Sharing(storage_here))
    assert records_in(tmp_path).finished() == {"cell-0"}
    work(tmp_path, storage_here)
    assert records_in(tmp_path).finished() == set(CELLS)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("queue.db", r"^--storage is no database.s URL, .*: give sqlite:///PATH on one machine"),
        ("journal.log", "a journal is not enough"),
        ("redis://localhost", "no database"),
        ("postgresql://me@host:port/x", "no database"),
        ("sqlite://", "in memory, where other workers cannot see it"),
        ("mysql+pymysql://localhost/x", "No module named 'pymysql'; for PostgreSQL pip install"),
        ("sqlite:////nowhere/queue.db", "cannot use .* unable to open database file"),
        ("sqlite:////etc/passwd", "cannot use .* file is not a database"),
    ],
)
def test_a_bad_storage_is_one_line(tmp_path, storage, message):
    with pytest.raises(ValueError, match=message) as caught:
        work(tmp_path, storage)
    assert "\n" not in str(caught.value)
    assert records_in(tmp_path).finished() == set()


def test_a_server_that_is_not_there_is_one_line_without_the_password(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(ValueError, match=r"cannot use --storage postgresql\+psycopg://\.\.\. .*refused") as caught:
        work(tmp_path, "postgresql+psycopg://me:se{cr}et@127.0.0.1:9/x")
    assert "\n" not in str(caught.value)
    assert "cr" not in str(caught.value)


@pytest.mark.parametrize(
    "storage",
    [
        "mysql+nosuch://u:SeCrEt@h/x",
        "redis://u:SeCrEt@h/x",
        "postgresql://u:SeCrEt@h:port/x",
        "postgresql+psycopg://u:Se@CrEt/SeCrEt@127.0.0.1:9/x",
        "postgresql+psycopg://127.0.0.1:9/x?password=SeCrEt",
        "postgresql+psycopg://u:SeCrEt@@127.0.0.1:9/x",
        "postgresql+psycopg://u:SeCrEt@/x?host=127.0.0.1&port=9",
        "u:SeCrEt@h/x",
        "://u:SeCrEt@h",
        "SeCrEt",
    ],
)
def test_no_part_of_a_url_that_may_be_a_password_is_printed(tmp_path, storage):
    with pytest.raises(ValueError, match="--storage") as caught:
        work(tmp_path, storage)
    assert "CrEt" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_workers_do_not_show_the_storage_among_their_arguments():
    given = ["--storage", "postgresql://u:p@h/x", "--workers", "2", "--storage=sqlite:///x", "--out", "here"]
    assert without_storage(given) == ["--workers", "2", "--out", "here"]
    assert shown("sqlite:///queue.db") == "sqlite:///queue.db"


def test_workers_are_at_least_one_and_need_a_command_line(tmp_path):
    for workers, message in ((0, "--workers is 0; give at least 1"), (2, "run python -m harness.COMMAND")):
        with pytest.raises(ValueError, match=message):
            run_jobs(JOBS, execute_in(tmp_path), records_in(tmp_path), "numbers", Sharing(workers=workers))


@pytest.mark.parametrize("with_storage", [False, True])
def test_a_job_of_several_cells_is_done_when_all_of_them_are(tmp_path, storage_here, with_storage):
    records, begun = records_in(tmp_path), []
    records.append([NumberRow("a2", 0, 1.0)])

    def execute(job):
        for cell in (job.cell, *job.also):
            with records.claim(cell) as mine:
                if mine:
                    begun.append(cell)
                    records.append([NumberRow(cell, 0, 1.0)])
        return 1.0

    jobs = [Job("a", {"number": 1}, ("a2", "a3")), Job("b", {"number": 2})]
    run_jobs(jobs, execute, records, "several", Sharing(storage_here) if with_storage else UNSHARED)
    assert begun == ["a", "a3", "b"]
    if with_storage:
        assert cells_of(storage_here, COMPLETE) == ["a", "b"]


def test_each_board_is_a_study_with_its_objective_and_they_take_turns(tmp_path, storage_here, capsys):
    boards = Board("of a", "accuracy"), Board("of b", "speed")
    jobs = [
        Job(
            f"cell-{number}",
            {"number": number},
            board=boards[number % 2],
            about={"name": f"number {number}", "of": "all"},
        )
        for number in (5, 1, 3, 2)
    ]
    run_jobs(jobs, execute_in(tmp_path), records_in(tmp_path), "numbers", Sharing(storage_here))
    assert capsys.readouterr().out.split() == ["cell-5", "cell-2", "cell-1", "cell-3"]
    found = {study.study_name.rpartition("-")[0]: study for study in optuna.get_all_study_summaries(storage_here)}
    assert set(found) == {"numbers-of a", "numbers-of b"}
    study = optuna.load_study(study_name=found["numbers-of b"].study_name, storage=storage_here)
    assert (study.metric_names, study.direction.name) == (["speed"], "MAXIMIZE")
    assert [(trial.params, trial.value) for trial in study.trials] == [({"number": n}, n / 7) for n in (5, 1, 3)]
    assert study.trials[0].user_attrs == {"cell": "cell-5", "name": "number 5", "of": "all"}
    assert study.user_attrs == {"of": "all"}
    assert study.best_trial.params == {"number": 5}
