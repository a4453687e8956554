"""Output in the terminal: results, notes on stderr, one red line for an error."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from backend.columns import aligned
from backend.errors import BackendError
from model.errors import ModelError
from model.progress import Advance
from model.wording import first_of, one_line, printable
from preprocessing.errors import PreprocessingError

#: What a user can mend, and failures of the machine's files and connections. Anything else, except
#: a database that cannot be read or written, is a bug of ours and keeps its traceback.
EXPECTED = (BackendError, ModelError, PreprocessingError, OSError)
EXIT_CODE = 2
NOTES_SHOWN = 20
#: Replacements for characters that a terminal or pipe lacks, as in Latin-1; otherwise "?".
INSTEAD = {"✓": "+", "✗": "-", "–": "-", "…": "...", "≥": ">="}


class Commands(TyperGroup):
    """The group of all commands, and the only place where an error becomes a line."""

    def main(self, *args: Any, **extra: Any) -> Any:
        _write_what_can_be_written()
        try:
            return super().main(*args, **extra)
        except Exception as error:
            if not (said := _in_words(error)):
                raise
            typer.secho(f"Error: {printable(said)}", fg=typer.colors.RED, err=True)
            sys.exit(EXIT_CODE)


def _write_what_can_be_written() -> None:
    """Make characters that a terminal or pipe lacks no reason to fail (``INSTEAD``)."""
    codecs.register_error("instead", _instead)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="instead")


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(INSTEAD.get(character, "?") for character in missing), error.end


def _in_words(error: Exception) -> str | None:
    if isinstance(error, OSError) and error.strerror:
        if error.filename:
            return f"{error.filename}: {error.strerror}; see to that, or name another place."
        return f"{error.strerror}; see to that, then give the command again."
    if isinstance(error, EXPECTED):
        return str(error)
    if "sqlalchemy" not in sys.modules:  # too slow for --help
        return None
    from backend.store import mending

    return mending.in_words(error)


def tell(*lines: str) -> None:
    """Print results on stdout, a line each, whatever files and classes are called."""
    for line in lines:
        typer.echo(one_line(line))


def say(text: str) -> None:
    """Print what is being done on stderr, so that stdout has only results."""
    typer.echo(printable(text), err=True)


def warn(notes: Iterable[str]) -> None:
    """Print what was left out or changed, in brief; after ``NOTES_SHOWN`` only how many more."""
    for line in first_of(list(notes), NOTES_SHOWN):
        typer.secho(f"Note: {one_line(line)}", fg=typer.colors.YELLOW, err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their headings, as plain text that can be piped."""
    cells = [[one_line(cell) for cell in row] for row in (columns, *rows)]
    tell(*aligned(cells, left=len(columns)))


@contextmanager
def progress(title: str) -> Iterator[Advance]:
    """Show a bar on stderr; yield a function of the fraction done, 0 to 1, and a few words."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=1.0, message="")
        yield lambda fraction, message: bar.update(
            task, completed=fraction, message=one_line(message)
        )
        bar.update(task, completed=1.0, message="")
