"""Images read one after the other, and what is to be told of those left out."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from model.wording import Naming, counted
from preprocessing.errors import UnreadableImage
from preprocessing.images import ImageRecord, read_image

#: Images that people are shown of those left out for one reason.
LEFT_OUT_NAMED = 20


class ImageReader:
    """Reads one image after the other, and keeps what is to be told of them."""

    def __init__(self) -> None:
        #: Why an image is left out, by its path.
        self.left_out: dict[Path, str] = {}
        self._stacks: list[str] = []

    def read(self, path: Path) -> ImageRecord | None:
        """Read the first page of an image; None when it cannot be read, and is left out."""
        try:
            record = read_image(path)
        except UnreadableImage as error:
            self.left_out[path] = str(error).removeprefix(f"{path.name}: ")
            return None
        if record.pages > 1:
            self._stacks.append(path.name)
        return record

    @property
    def notes(self) -> list[str]:
        """What was left out, and of what the first page was taken: a ``Naming`` for all alike."""
        names = defaultdict[str, list[str]](list)
        for path, why in self.left_out.items():
            names[why].append(path.name)
        notes: list[str] = [
            Naming.of(each, after=f" left out: {why}", most=LEFT_OUT_NAMED)
            for why, each in names.items()
        ]
        if stacks := self._stacks:
            several = f"{counted(len(stacks), 'image')} with several pages, of which the first is"
            notes.append(Naming.of(stacks, before=f"{several} taken: "))
        return notes


def left_out_flag(why: str) -> str:
    """Return the flag of an image that is left out: the cause, since advice is for who calls."""
    return f"left out: {why.partition(';')[0]}"


def page_flags(record: ImageRecord) -> tuple[str, ...]:
    """Return the flag of the first page of several, of which the others are not looked at."""
    return (f"first of {record.pages} pages",) if record.pages > 1 else ()
