"""Waiting for a database that does not answer, such as a server that is being restarted, instead of losing a run."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

LONGEST = 300.0  # seconds until a database that does not answer is given up
PAUSE = 1.0  # seconds between two attempts

Gained = TypeVar("Gained")
Storage = TypeVar("Storage", bound=type)


def is_lost(error: Exception) -> bool:
    """Whether the error, or the one that Optuna's error wraps, is a lost connection, so that a retry may succeed."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    lost = isinstance(cause, DBAPIError) and cause.connection_invalidated
    # PendingRollbackError: a connection lost amid a transaction raises it instead of the error that lost it.
    return lost or isinstance(cause, OperationalError | InterfaceError | PendingRollbackError)


def patiently(attempt: Callable[[], Gained], say: Callable[[], None], longest: float = LONGEST) -> Gained:
    """The result of `attempt`, which is repeated as long as its database is lost.

    A repetition may write again what was written just before the connection was lost, so attempts must allow for that.

    Args:
        attempt: the function that uses the database.
        say: called once, before the first pause.
        longest: seconds after which the error is raised all the same.

    Raises:
        SQLAlchemyError: any other error at once, a lost database after `longest`; or Optuna's StorageInternalError.
    """
    until = None
    while True:
        try:
            return attempt()
        except (SQLAlchemyError, StorageInternalError) as error:
            if not is_lost(error) or (until and time.monotonic() > until):
                raise
        if until is None:
            until = time.monotonic() + longest
            say()
        time.sleep(PAUSE)


class Patience(threading.local):
    """Whether this thread is within `patiently` already: methods that are called there must not retry by themselves."""

    within = False


def patient_methods(storage: Storage) -> Storage:
    """Make every method of a storage class and of its first base try `patiently`. The class must have `say_lost`."""
    patience = Patience()
    base = storage.__bases__[0]
    for name, method in {**vars(base), **vars(storage)}.items():
        if isinstance(method, FunctionType) and not name.startswith("__") and name != "say_lost":
            setattr(storage, name, _patient(method, patience))
    return storage


def _patient(method: Callable[..., Gained], patience: Patience) -> Callable[..., Gained]:
    @wraps(method)
    def tried(self: Any, *arguments: Any, **named: Any) -> Gained:
        if patience.within:
            return method(self, *arguments, **named)
        patience.within = True
        try:
            return patiently(lambda: method(self, *arguments, **named), self.say_lost)
        finally:
            patience.within = False

    return tried
