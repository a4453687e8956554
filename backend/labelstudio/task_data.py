"""What a task's data says of its image: written by an import, read wherever tasks come in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from preprocessing.images import PageKey

_RESOLVED = re.compile(r"/tasks/\d+/resolve/.*")


@dataclass(frozen=True)
class TaskData:
    """The image of a task, as its ``data`` names it.

    Parameters
    ----------
    sha256
        The raw file's; empty if the task names none, as one that Cytoloop did not import. A column
        of the lab's own may have the same name.
    page
        Page of that file, from 0.
    name
        The user's name for the image; may be empty.
    """

    sha256: str
    page: int
    name: str

    @property
    def key(self) -> PageKey:
        return self.sha256, self.page

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Self:
        """Read a task as Label Studio sends it."""
        data = _data(task)
        sha256 = data.get("sha256")
        return cls(
            sha256 if isinstance(sha256, str) else "",
            _page(data.get("page")),
            _encodable(str(data.get("name") or "")),
        )

    def written(self, matched: str) -> dict[str, Any]:
        """Return what an import writes beside the image's address.

        Parameters
        ----------
        matched
            Address of the matched image.
        """
        return {**vars(self), "matched": matched}


def address_of(task: Mapping[str, Any], data_key: str) -> str:
    """Return the address of the image that a task shows; empty if there is none.

    Parameters
    ----------
    data_key
        As in ``LabellingInterface``.
    """
    address = _data(task).get(data_key)
    return _encodable(address) if isinstance(address, str) else ""


def listed_address_of(task: Mapping[str, Any], data_key: str) -> str:
    """Return what identifies a task's image in the API's address; empty if not known.

    For an image in a storage the API lists its own address, under whichever server name it is
    configured with, while /predict sends the address in the storage (``s3://…``).
    """
    address = address_of(task, data_key)
    if resolved := _RESOLVED.search(address):
        return resolved.group()
    in_storage = "://" in address and not address.startswith(("http://", "https://"))
    return "" if in_storage else address


def _data(task: Mapping[str, Any]) -> Mapping[str, Any]:
    data = task.get("data")
    return data if isinstance(data, Mapping) else {}


def _encodable(text: str) -> str:
    """Return a text that can be stored and sent: "?" replaces the lone surrogates of JSON."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _page(page: Any) -> int:
    try:
        return int(page or 0)
    except (TypeError, ValueError, OverflowError):
        return 0  # a column of the lab's own
