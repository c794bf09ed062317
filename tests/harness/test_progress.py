"""Progress: a bar on a terminal, a line a minute in a log."""

import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time

from harness.core import progress
from harness.core.progress import MINUTE, Lines, bar

WORK = """
from harness.core.progress import bar
with bar(4, "work") as shown:
    shown.update()
    print(type(shown).__name__)
"""


def test_a_log_gets_a_line_with_share_and_time_left(capsys):
    with Lines(200, "condensing", every=0.0) as shown:
        shown.update(0)
        shown.update(50)
        shown.update(100)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "condensing: 25% (50 of 200 it), 00:00 gone, 00:00 left"
    assert second == "condensing: 75% (150 of 200 it), 00:00 gone, 00:00 left"
    assert shown.n == 150


def test_the_time_left_is_that_of_the_rest_at_the_same_speed():
    shown = Lines(200, "condensing")
    shown.n = 50
    assert shown._line(elapsed=600.0) == "condensing: 25% (50 of 200 it), 10:00 gone, 30:00 left"


def test_what_a_checkpoint_already_had_took_no_time(monkeypatch):
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock, 20.0))
    shown = Lines(3000, "condensing", every=1000.0)
    shown.update(700)  # of an earlier run, after 20 seconds of reading data
    for _ in range(100):
        shown.update()
    assert shown._line(elapsed=120.0) == "condensing: 27% (800 of 3000 it), 02:00 gone, 36:40 left"


def test_a_line_a_minute_is_of_the_process_not_of_each_piece_of_work(capsys, monkeypatch):
    monkeypatch.setattr(Lines, "_said", Lines._said - MINUTE)
    for piece in range(5):
        with bar(10, f"piece {piece}") as shown:
            shown.update(10)
    assert capsys.readouterr().err == "piece 0: 100% (10 of 10 it), 00:00 gone, 00:00 left\n"


def test_a_piece_of_work_that_does_not_move_says_a_line_too(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOOKS", 0.02)
    monkeypatch.setattr(Lines, "_said", Lines._said - MINUTE)
    with bar(3, "nas", "cells") as cells, bar(10, "a network", "epochs"):
        cells.n = 1
        time.sleep(0.3)  # a network whose first epoch is long
    assert capsys.readouterr().err == (
        "nas: 33% (1 of 3 cells), 00:00 gone, 00:00 left; a network: 0% (0 of 10 epochs), 00:00 gone, ? left\n"
    )
    assert not Lines._open
    time.sleep(0.1)
    assert not [thread for thread in threading.enumerate() if "_look" in thread.name]


def test_work_within_work_counts_as_so_much_of_it(monkeypatch):
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    with bar(100.0, "table", "0 of 3 cells", counts=False) as cells:
        with bar(10, "condensing", worth=60.0) as shown:
            shown.update(0)
            shown.update(5)
            assert cells.n == 30.0
            assert cells._line(elapsed=30.0).startswith("table: 30% (0 of 3 cells), 00:30 gone, 01:10 left")
            shown.update(5)
        with bar(20, "a network", "epochs", worth=10.0) as shown, bar(7, "of no worth") as within:
            within.update(7)
            shown.update(10)
        assert cells.n == 65.0
        cells.stand(80.0, "2 of 3 cells")  # as another process has done one, too
        assert cells._line(elapsed=80.0).startswith("table: 80% (2 of 3 cells), 01:20 gone, 00:20 left")
    with bar(1, "alone", worth=5.0) as shown:
        shown.update()


def test_a_bar_around_another_says_time_left_before_it_has_counted_anything():
    nested = """
import time
from harness.core.progress import bar
with bar(100.0, "table", "0 of 3 cells", counts=False), bar(10, "condensing", worth=60.0) as shown:
    for _ in range(5):
        time.sleep(0.4)
        shown.update()
"""
    drawn = on_a_terminal(nested)[1]
    assert re.search(r"table:  30%\|.*\| 0 of 3 cells \[00:0\d<00:0[3-6]\]", drawn)
    assert "condensing:  50%" in drawn


def test_without_a_terminal_nothing_is_drawn_and_with_one_a_bar():
    quiet = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, check=True)
    assert (quiet.stdout, quiet.stderr) == ("Lines\n", "")
    said, drawn = on_a_terminal(WORK)
    assert said == "Bar\n"
    assert "work" in drawn


def test_the_clock_of_a_bar_goes_on_before_anything_is_done():
    waiting = "import time\nfrom harness.core.progress import bar\nwith bar(4, 'work'):\n    time.sleep(2.5)"
    assert "00:02<?" in on_a_terminal(waiting)[1]


def test_a_terminal_of_no_size_gets_lines():
    """As tools without a window open it: a bar would draw nothing there, for hours."""
    due = "from harness.core import progress\nprogress.Lines._said = -1e9\n"
    said, drawn = on_a_terminal(due + WORK, rows=0)
    assert said == "Lines\n"
    assert drawn.startswith("work: 25% (1 of 4 it)")


def on_a_terminal(code: str, rows: int = 24) -> tuple[str, str]:
    """What a program prints on stdout, and what it draws on a terminal."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (rows, 80))
    shown = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=end, text=True, check=True)
    drawn = os.read(terminal, 10_000).decode()
    os.close(end)
    os.close(terminal)
    return shown.stdout, drawn
