"""Says what to do about a database that cannot be read or written, by SQLite's error code."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, OperationalError

DOCTOR = "`cytoloop doctor` says how to mend it."
_UNHARMED = "Nothing says that the database is damaged: leave its files as they are."
_ROOM = (
    "Its disk is full, or fails: make room on it, by `cytoloop models prune` or by what else lies "
    f"there. {_UNHARMED}"
)
_RIGHTS = (
    "Give the right to write to its file and its folder, in which SQLite keeps more beside it; or "
    f"make room on its disk. {_UNHARMED}"
)
_WAIT = f"Another process holds it: wait for that to end. {_UNHARMED}"
_MENDS = {
    sqlite3.SQLITE_FULL: _ROOM,
    sqlite3.SQLITE_IOERR: _ROOM,
    sqlite3.SQLITE_CANTOPEN: _RIGHTS,
    sqlite3.SQLITE_READONLY: _RIGHTS,
    sqlite3.SQLITE_PERM: _RIGHTS,
    sqlite3.SQLITE_BUSY: _WAIT,
    sqlite3.SQLITE_LOCKED: _WAIT,
}
#: 0 is for errors of another database than SQLite.
_AWAY = (0, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def in_words(error: BaseException) -> str | None:
    """Return what is wrong with a database, and what to do; None if a program is at fault."""
    if not isinstance(error, DBAPIError):
        return None
    mend = mend_of(error) or (DOCTOR if is_away(error) or is_damage(error) else None)
    return mend and f"The database cannot be read or written ({error.orig}). {mend}"


def mend_of(error: BaseException) -> str | None:
    """Return what to do if the fault is not in the file itself; None if not known."""
    return _MENDS.get(_code(error))


def is_away(error: BaseException) -> bool:
    """Tell whether a database cannot answer now, but may soon.

    Its server is away, or another process holds its file. A full disk of another database than
    SQLite cannot be told apart from that.
    """
    return isinstance(error, OperationalError) and _code(error) in _AWAY


def is_damage(error: BaseException) -> bool:
    """Tell whether the file is no database, or not a whole one."""
    return _code(error) in _DAMAGED


def _code(error: BaseException) -> int:
    """Return the low byte of SQLite's code, shared by all codes of a kind; 0 for other errors."""
    return int(getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)) & 0xFF
