"""A database that is lost for a while: tried again with one word, for so long and no longer; other errors at once."""

import sqlite3

import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, PendingRollbackError

from harness.core import patience
from harness.core.patience import is_lost, patient_methods, patiently
from harness.core.records import PAUSE


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(patience, "PAUSE", 0.01)


class Database:
    """Fails so many times with an error, and then answers. Counts its calls, and what was said."""

    def __init__(self, failures, error):
        self.failures, self.error, self.calls, self.said = failures, error, 0, 0

    def ask(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "answer"

    def say(self):
        self.said += 1


def lost(kind=OperationalError):
    return kind("SELECT 1", {}, Exception("server closed the connection"))


def wrapped(error):
    """As Optuna raises what comes up while it writes."""
    internal = StorageInternalError("An exception is raised during the commit.")
    internal.__cause__ = error
    return internal


@pytest.mark.parametrize("error", [lost(), lost(InterfaceError), wrapped(lost()), PendingRollbackError("")])
def test_a_database_that_comes_back_is_waited_for_with_one_word(error):
    database = Database(3, error)
    assert patiently(database.ask, database.say) == "answer"
    assert (database.calls, database.said) == (4, 1)


def test_without_a_failure_nothing_is_said():
    database = Database(0, lost())
    assert patiently(database.ask, database.say) == "answer"
    assert (database.calls, database.said) == (1, 0)


def test_a_database_that_stays_away_is_given_up():
    database = Database(10**9, lost())
    with pytest.raises(OperationalError, match="server closed"):
        patiently(database.ask, database.say, longest=0.1)
    assert database.said == 1
    assert 2 <= database.calls <= 13


@pytest.mark.parametrize("error", [lost(IntegrityError), wrapped(lost(IntegrityError)), StorageInternalError("other")])
def test_another_error_is_raised_at_once(error):
    database = Database(1, error)
    with pytest.raises(type(error)):
        patiently(database.ask, database.say)
    assert (database.calls, database.said) == (1, 0)


def test_a_real_driver_tells_a_lost_database_from_a_wrong_question(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}")  # a folder, where no database can be opened
    with pytest.raises(OperationalError) as caught:
        engine.connect()
    assert is_lost(caught.value)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(sqlalchemy.exc.ProgrammingError) as caught:
        connection.execute(sqlalchemy.text("SELECT ?"), {})
    assert not is_lost(caught.value)


class Base:
    """Two methods of which one calls the other."""

    def __init__(self, database):
        self.database = database

    def inner(self):
        return self.database.ask()

    def outer(self):
        return self.inner()


@patient_methods
class Patient(Base):
    def say_lost(self):
        self.database.say()


def test_methods_wait_once_not_within_each_other(monkeypatch):
    for name in ("inner", "outer"):
        database = Database(2, lost())
        assert getattr(Patient(database), name)() == "answer"
        assert (database.calls, database.said) == (3, 1)
    with pytest.raises(OperationalError):
        Base(Database(1, lost())).outer()


def test_what_is_waited_for_is_longer_than_a_restart_takes():
    assert patience.LONGEST > 60 * PAUSE
