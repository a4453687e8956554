"""Folders of results: known by a file of ours, never somebody's own, gone on with as begun."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from backend.datasets.listing import visible_in
from backend.errors import BadRequest
from model.atomic import try_lock

#: By which a folder of results is known: of `predict`, `preprocess apply` and `export voc`.
RESULTS = COUNTED, MATCHED, EXPORTED = "counts.json", "contrast.csv", "export.json"
#: The folder of the VOC files beside results.
ANNOTATIONS = "annotations"
#: How what a folder of results began with is asked for, where that is an option's.
_OPTION = {"version": "--model", "cell diameter": "--cell-diameter", "scores": "--scores"}
#: What follows from the version, and needs no word where that is another.
_OF_VERSION = {"threshold", "classes"}


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, made when absent, against all others who would; the kernel lets go of it.

    A file server that knows no such locks lets everybody in.

    Raises
    ------
    BadRequest
        It cannot be made, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "a file is there" if folder.is_file() else error.strerror
        raise BadRequest(f"{folder} cannot be a folder ({why}): name another.") from error
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            if not try_lock(descriptor):
                raise BadRequest(f"Another process writes in {folder}: wait for it, or end it.")
        yield
    finally:
        os.close(descriptor)


def require_empty(out: Path, begun: Collection[str] = ()) -> None:
    """Refuse a folder that holds something: nobody's own files are ever overwritten.

    What a process left that was killed while it wrote is nothing, nor is what a file system put
    there for itself.

    Parameters
    ----------
    begun
        Names of ours: a folder that holds one of them was begun before, and is gone on with.

    Raises
    ------
    BadRequest
        It holds something else, or is a file.
    """
    if out.is_file():
        raise BadRequest(f"{out} is a file: give a new folder.")
    names = {path.name for path in visible_in(out)} if out.is_dir() else set()
    if names and not names & set(begun):
        raise BadRequest(f"{out} holds files already: give a new folder, nothing is overwritten.")


def require_as_begun(path: Path, began: Mapping[str, object], how: Mapping[str, object]) -> None:
    """Refuse to go on with a file otherwise than it was begun.

    Parameters
    ----------
    began, how
        What was chosen then and is chosen now, by name; what was not known then is not held
        against it.

    Raises
    ------
    BadRequest
        Something was chosen otherwise.
    """
    others = [name for name in how if name in began and began[name] != how[name]]
    if "version" in others:
        others = [name for name in others if name not in _OF_VERSION]
    if others:
        before, now = (", ".join(_choice(n, chosen[n]) for n in others) for chosen in (began, how))
        raise BadRequest(
            f"{path} began with {before}, and cannot go on with {now}: choose as before, or "
            "another --out."
        )


def _choice(name: str, chosen: object) -> str:
    """Return a choice as it is asked for, or by its name where no option is."""
    if name == "classes" and isinstance(chosen, list):
        chosen = ", ".join(chosen)
    option = _OPTION.get(name)
    if option is None:
        return f"{name} {chosen}"
    if chosen in (None, False):
        return f"no {option}"
    return option if chosen is True else f"{option} {chosen}"
