"""Finds the raw image behind a task: the imported file, or what Label Studio shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from backend.errors import BadRequest, NotFound
from backend.labelstudio.task_data import TaskData, address_of, listed_address_of
from backend.services import Services
from backend.store.images import StoredImage
from preprocessing.images import ImageRecord, read_image

Task = Mapping[str, Any]


def read_task_image(services: Services, project: int, task: Task, data_key: str) -> ImageRecord:
    """Return the pixels of a task's raw image; see :func:`stored_task_image`."""
    stored = stored_task_image(services, project, task, data_key)
    return read_image(services.images.path(stored.sha256), stored.page, stored.sha256)


def stored_task_image(services: Services, project: int, task: Task, data_key: str) -> StoredImage:
    """Return the kept image of a task, with the task attached to it.

    A task that Cytoloop imported names its raw file by sha256. For any other task the image is
    fetched from Label Studio and kept: once, and again if Label Studio lists another address. Until
    it has come, nothing is known of what the task shows.

    Parameters
    ----------
    task
        As Label Studio sends it, with ``id`` and ``data``.
    data_key
        Key of ``task["data"]`` that holds the image's address.

    Raises
    ------
    UnreadableImage
        The kept or fetched file is no image.
    LabelStudioError
        The image could not be fetched.
    BadRequest
        The task names no image.
    """
    id, images = int(task["id"]), services.images
    known, data = images.of_task(project, id), TaskData.of(task)
    listed = listed_address_of(task, data_key)
    if _is_kept(data.sha256, services):
        raw, page = data.key
        # A Label Studio restored from a copy gives task numbers again.
        if known and known.key == (raw, page):
            return known
    elif known and (
        data.sha256 == known.sha256 or not is_elsewhere(listed, images.address_of(project, id))
    ):
        return known
    else:  # the lab's own "page" column says nothing of what Label Studio shows
        if known:
            images.detach_task(project, id)
        raw, page = images.keep(_fetch(services, task, data_key)), 0
    record = read_image(images.path(raw), page, raw)
    name = data.name or _name(address_of(task, data_key)) or raw[:12]
    stored = images.add(project, raw, page, name, *record.size)
    images.attach_task(project, raw, page, id, listed)
    return stored


def is_elsewhere(listed: str, before: str) -> bool:
    """Tell whether an image has another address than before, and so may be another image."""
    return "" not in (listed, before) and listed != before


def _is_kept(sha256: str, services: Services) -> bool:
    try:
        services.images.path(sha256)
    except NotFound:
        return False
    return True


def _fetch(services: Services, task: Task, data_key: str) -> bytes:
    if not (address := address_of(task, data_key)):
        raise BadRequest(
            f"Task {task['id']} has no image under data.{data_key}, the key that the label_config "
            "names; import it again or correct the label_config."
        )
    return services.label_studio.download(address)


def _name(address: str) -> str:
    """Return the file name in an address, without the eight digits that Label Studio prepends.

    Empty if it is no address.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    name = PurePosixPath(path).name
    prefix, dash, rest = name.partition("-")
    uploaded = "/upload/" in path and dash and len(prefix) == 8
    return rest if uploaded else name
