"""The database behind a queue: its URL, which may hold a password, is checked and opened, and never shown whole.

A worker process gets the URL in its environment, where no list of processes shows it; a user may give it there, too.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

STORAGE = "HARNESS_STORAGE"  # environment variable that is read if --storage is not given
ADVICE = "give sqlite:///PATH on one machine, postgresql+psycopg://USER@HOST/NAME on many"


def asked(storage: str | None) -> str | None:
    """The URL of the command line, or of the environment."""
    return storage or os.environ.get(STORAGE)


def url_of(storage: str | None, folder: Path) -> sqlalchemy.URL:
    """The database that is asked for, by default a file in `folder`. Raises ValueError for an unusable URL."""
    storage = asked(storage)
    if storage is None:
        return sqlalchemy.URL.create("sqlite", database=str(folder / "queue.db"))
    try:
        url = sqlalchemy.make_url(storage)
        url.get_dialect().import_dbapi()
    except (ArgumentError, ValueError) as error:
        # Optuna's journal has no heartbeats, so the trials of a dead worker would never be given to another.
        known = f" {shown(storage)}" if "://" in storage else ""
        raise ValueError(f"--storage{known} is no database's URL, and a journal is not enough: {ADVICE}") from error
    except ImportError as error:
        install = "pip install 'psycopg[binary]' and give postgresql+psycopg://USER@HOST/NAME"
        raise ValueError(f"--storage {shown(storage)}: {error}; for PostgreSQL {install}") from error
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError(f"--storage {shown(storage)} is in memory, where other workers cannot see it: {ADVICE}")
    return url


def connectable(storage: str) -> None:
    """Raise ValueError if no database answers at the URL."""
    url = url_of(storage, Path())
    with one_line_errors(url):
        sqlalchemy.create_engine(url).connect().close()


def text(url: sqlalchemy.URL) -> str:
    """The whole URL, to connect with. Percent-encoded, because Optuna formats it and would take braces for fields."""
    return url.render_as_string(hide_password=False)


def shown(storage: str) -> str:
    """What may be printed of a URL: the file of SQLite, of others no more than the kind of database.

    A password may stand anywhere in a URL that is not well formed, and in the query of one that is.
    """
    if re.fullmatch(r"sqlite(\+\w+)?://[^@?]*", storage):
        return storage
    kind = re.match(r"[a-z][a-z0-9+]*://", storage)
    return f"{kind[0] if kind else ''}... (the rest is not shown, for it may hold a password)"


@contextmanager
def one_line_errors(url: sqlalchemy.URL) -> Iterator[None]:
    """Turn what a database says into a ValueError of one line, without any part of a user's name and password."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        if "@" in f"{url.host}{url.database}{url.password}":
            # The URL is not well formed: a part of the password may be taken for the host, which drivers name.
            reason = "nothing answers there; write an @, : or / in a password as %40, %3A or %2F"
        for secret in sorted(_secrets(url), key=len, reverse=True):
            reason = reason.replace(secret, "***")
        raise ValueError(f"cannot use --storage {shown(text(url))}: {reason}; {ADVICE}") from error


def _secrets(url: sqlalchemy.URL) -> set[str]:
    """The password and whatever may be a part of it, both percent-decoded and as written."""
    beside = text(url).partition("://")[2].rpartition("@")[0].partition(":")[2]
    found = {str(url.password or ""), *re.split("[:@/?&=]", beside), *map(str, url.query.values())}
    return {secret for secret in found if len(secret) > 2}
