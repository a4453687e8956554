"""Folders of results: recognised by a file of ours, and continued only with the same choices."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from backend.datasets.listing import visible_in
from backend.errors import BadRequest
from model.atomic import try_lock

#: The files that mark a folder of results: of `predict`, `preprocess apply` and `export voc`.
RESULTS = COUNTED, MATCHED, EXPORTED = "counts.json", "contrast.csv", "export.json"
#: The folder of the VOC files beside results.
ANNOTATIONS = "annotations"
#: The option for each choice that a folder of results was begun with, if it has one.
_OPTION = {"version": "--model", "cell diameter": "--cell-diameter", "scores": "--scores"}
#: Choices that follow from the version: not mentioned if the version itself differs.
_OF_VERSION = {"threshold", "classes"}


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock a folder, which is made if missing, against other processes; the kernel frees the lock.

    On a file server without such locks the folder is not protected.

    Raises
    ------
    BadRequest
        The folder cannot be made, or another process holds it.
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
    """Refuse a folder that is not empty: no file of the user is ever overwritten.

    The remains of a process killed while writing, and a file system's own files, do not count.

    Parameters
    ----------
    begun
        Names of our files: a folder that has one of them was begun before and may be continued.

    Raises
    ------
    BadRequest
        The folder holds other files, or is itself a file.
    """
    if out.is_file():
        raise BadRequest(f"{out} is a file: give a new folder.")
    names = {path.name for path in visible_in(out)} if out.is_dir() else set()
    if names and not names & set(begun):
        raise BadRequest(f"{out} holds files already: give a new folder, nothing is overwritten.")


def require_as_begun(path: Path, began: Mapping[str, object], how: Mapping[str, object]) -> None:
    """Refuse to go on with a file with other choices than it was begun with.

    Parameters
    ----------
    began, how
        The choices then and now, by name; a choice that was not recorded then is not compared.

    Raises
    ------
    BadRequest
        A choice differs.
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
    """Return a choice as its option, or by name if it has none."""
    if name == "classes" and isinstance(chosen, list):
        chosen = ", ".join(chosen)
    option = _OPTION.get(name)
    if option is None:
        return f"{name} {chosen}"
    if chosen in (None, False):
        return f"no {option}"
    return option if chosen is True else f"{option} {chosen}"
