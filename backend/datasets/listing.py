"""Lists a folder without the files that a file system keeps there for itself."""

from __future__ import annotations

from pathlib import Path

#: What Windows, a Mac's zip and a Synology server put beside a person's files.
_OF_SYSTEMS = {
    "thumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "__macosx",
    "@eadir",
}


def visible_in(folder: Path) -> list[Path]:
    """Return what a person has put into a folder, without a file system's own files."""
    own = (path for path in folder.iterdir() if path.name.lower() not in _OF_SYSTEMS)
    # Names that begin with a dot are a file system's too, such as the Mac's ._image.tif.
    return sorted(path for path in own if not path.name.startswith("."))
