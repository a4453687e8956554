"""The raw images, kept by hash, and which Label Studio task shows which image."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Engine,
    FromClause,
    Row,
    Select,
    and_,
    delete,
    distinct,
    func,
    select,
    update,
)

from backend.errors import NotFound
from backend.store.database import upsert, writing
from backend.store.tables import images, showings, tasks
from model.atomic import new_file
from model.labels.examples import Side
from preprocessing.hashing import sha256_of
from preprocessing.images import PageKey

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredImage:
    """One image of a project: a raw file, or one page of it.

    Parameters
    ----------
    name
        The user's name for it; two images may have the same name.
    width, height
        In pixels of the raw image, upright.
    task
        The task that shows it (the first if there are several); None once it was deleted.
    side
        None until a run has decided it, then fixed for ever.
    fingerprint
        From ``model.labels.likeness``; None until first asked for.
    """

    project: int
    sha256: str
    page: int
    name: str
    width: int
    height: int
    task: int | None = None
    side: Side | None = None
    fingerprint: str | None = None

    @property
    def key(self) -> PageKey:
        return self.sha256, self.page

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height


class Images:
    """The images in the store.

    Parameters
    ----------
    folder
        The folder of the raw files, each named ``<sha256>``.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    def keep(self, data: bytes) -> str:
        """Keep a raw file, whole or not at all, and return its hex sha256.

        A damaged one, as after an interrupted copy of the home, is replaced.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.is_whole(sha256):
            with new_file(self._folder / sha256) as partial:
                partial.write_bytes(data)
        return sha256

    def is_whole(self, sha256: str) -> bool:
        """Tell whether a raw file is here as it was kept; reads all of it."""
        try:
            return sha256_of(self._folder / sha256) == sha256
        except OSError:  # gone, or unreadable
            return False

    def path(self, sha256: str) -> Path:
        """Return the path of a raw file.

        Raises
        ------
        NotFound
            No such file was kept, or the name is not a hash (it may come from outside).
        """
        path = self._folder / sha256
        if not SHA256.fullmatch(sha256) or not path.is_file():
            raise NotFound(f"No raw image {sha256[:64]!r} is kept here; import it again.")
        return path

    def add(
        self, project: int, sha256: str, page: int, name: str, width: int, height: int
    ) -> StoredImage:
        """Make a page of a kept file an image of a project, unless it already is one.

        Raises
        ------
        NotFound
            The project is not known.
        """
        with writing(self._engine, project) as connection:
            insert = upsert(connection, images).values(
                project=project, sha256=sha256, page=page, name=name, width=width, height=height
            )
            connection.execute(insert.on_conflict_do_nothing())
        return self._existing(project, sha256, page)

    def get(self, project: int, sha256: str, page: int = 0) -> StoredImage | None:
        """Return a project's image by its hash and page, if the project has it."""
        rows = self._read(_selected(project).where(_is(sha256, page)))
        return rows[0] if rows else None

    def attach_task(
        self, project: int, sha256: str, page: int, task: int, address: str = ""
    ) -> StoredImage:
        """Record that a task shows an image.

        Parameters
        ----------
        address
            The image's address in Label Studio's list; empty while not known.

        Raises
        ------
        NotFound
            The project has no such image.
        """
        self._existing(project, sha256, page)
        of_image = select(images.c.id).where(images.c.project == project, _is(sha256, page))
        last_shown = select(showings.c.image).where(_of_task(showings, project, task))
        last_shown = last_shown.order_by(showings.c.id.desc()).limit(1)
        with self._engine.begin() as connection:
            image = connection.scalar(of_image)
            values = {"image": image, "address": address}
            row = upsert(connection, tasks).values(project=project, task=task, **values)
            connection.execute(
                row.on_conflict_do_update(index_elements=["project", "task"], set_=values)
            )
            if connection.scalar(last_shown) != image:
                shown = showings.insert().values(project=project, task=task, image=image)
                connection.execute(shown)
        return self._existing(project, sha256, page)

    def detach_task(self, project: int, task: int) -> None:
        """Forget which image a task shows now, as long as another has not come."""
        with self._engine.begin() as connection:
            connection.execute(delete(tasks).where(_of_task(tasks, project, task)))

    def exchanged(self, project: int) -> dict[int, datetime]:
        """Return, by task that showed another image before, since when it shows its image."""
        other = showings.alias()
        query = (
            select(tasks.c.task, func.max(showings.c.since).label("since"))
            .join(showings, _of_task(showings, tasks.c.project, tasks.c.task))
            .join(other, _of_task(other, tasks.c.project, tasks.c.task))
            .where(tasks.c.project == project)
            .where(showings.c.image == tasks.c.image, other.c.image != tasks.c.image)
            .group_by(tasks.c.task)
        )
        with self._engine.connect() as connection:
            return {row.task: row.since for row in connection.execute(query)}

    def known_tasks(self, project: int) -> set[int]:
        """Return the tasks of a project whose image is known."""
        with self._engine.connect() as connection:
            return set(connection.scalars(select(tasks.c.task).where(tasks.c.project == project)))

    def address_of(self, project: int, task: int) -> str:
        """Return the address at which Label Studio listed a task's image; empty while not known."""
        query = select(tasks.c.address).where(_of_task(tasks, project, task))
        with self._engine.connect() as connection:
            return connection.scalar(query) or ""

    def addresses(self, project: int) -> dict[int, str]:
        """Return the same for each task whose image is known."""
        query = select(tasks.c.task, tasks.c.address).where(tasks.c.project == project)
        with self._engine.connect() as connection:
            return {row.task: row.address for row in connection.execute(query)}

    def set_addresses(self, project: int, addresses: Mapping[int, str]) -> None:
        """Keep the addresses at which Label Studio lists the images of tasks."""
        with self._engine.begin() as connection:
            for task, address in sorted(addresses.items()):  # in one order, so that none deadlock
                this = _of_task(tasks, project, task)
                connection.execute(update(tasks).where(this).values(address=address))

    def forget_tasks(self, project: int, gone: Iterable[int]) -> None:
        """Forget deleted tasks; their images stay, with their side."""
        with self._engine.begin() as connection:
            for task in sorted(gone):  # in one order, so that none deadlock
                for table in (tasks, showings):
                    connection.execute(delete(table).where(_of_task(table, project, task)))

    def of_task(self, project: int, task: int) -> StoredImage | None:
        """Return the image that a task shows, if it is known."""
        image = select(tasks.c.image).where(_of_task(tasks, project, task))
        rows = self._read(_selected(project).where(images.c.id == image.scalar_subquery()))
        return rows[0] if rows else None

    def of_tasks(self, project: int) -> dict[int, StoredImage]:
        """Return, by task of a project, the image that it shows, where known."""
        shows = tasks.alias()
        query = _selected(project).add_columns(shows.c.task.label("shown_by"))
        query = query.join_from(images, shows, shows.c.image == images.c.id)
        with self._engine.connect() as connection:
            return {row.shown_by: _image(row) for row in connection.execute(query)}

    def all(self, project: int) -> list[StoredImage]:
        """Return a project's images in the order in which they came in."""
        return self._read(_selected(project))

    def number_with_task(self, project: int) -> int:
        """Return how many images of a project still have a task."""
        query = select(func.count(distinct(tasks.c.image))).where(tasks.c.project == project)
        with self._engine.connect() as connection:
            return connection.scalar(query) or 0

    def shown_twice(self, project: int) -> list[tuple[StoredImage, list[int]]]:
        """Return each image that several tasks show, with these tasks."""
        query = select(tasks.c.image, tasks.c.task).where(tasks.c.project == project)
        by_image = defaultdict(list)
        with self._engine.connect() as connection:
            for image, task in connection.execute(query.order_by(tasks.c.task)):
                by_image[image].append(task)
        several = [shown for shown in by_image.values() if len(shown) > 1]
        found = ((self.of_task(project, shown[0]), shown) for shown in several)
        return [(image, shown) for image, shown in found if image is not None]

    def set_sides(self, project: int, sides: Mapping[PageKey, Side]) -> None:
        """Set the sides of images, all at once; a side already decided stays.

        All or none: which of five images judges is drawn among those dealt together.

        Parameters
        ----------
        sides
            By sha256 and page.
        """
        undecided = (images.c.project == project, images.c.side.is_(None))
        with self._engine.begin() as connection:
            for (sha256, page), side in sides.items():
                one = update(images).where(_is(sha256, page), *undecided)
                connection.execute(one.values(side=side))

    def set_fingerprint(self, sha256: str, page: int, fingerprint: str) -> None:
        """Keep an image's fingerprint, for all projects that have the image."""
        with self._engine.begin() as connection:
            connection.execute(
                update(images).where(_is(sha256, page)).values(fingerprint=fingerprint)
            )

    def _existing(self, project: int, sha256: str, page: int) -> StoredImage:
        if found := self.get(project, sha256, page):
            return found
        raise NotFound(f"Project {project} has no image {sha256} (page {page}); import it first.")

    def _read(self, query: Select[Any]) -> list[StoredImage]:
        with self._engine.connect() as connection:
            return [_image(row) for row in connection.execute(query)]


def _selected(project: int) -> Select[Any]:
    first_task = (
        select(func.min(tasks.c.task))
        .where(tasks.c.image == images.c.id)
        .scalar_subquery()
        .label("task")
    )
    return select(images, first_task).where(images.c.project == project).order_by(images.c.id)


def _is(sha256: str, page: int) -> Any:
    return (images.c.sha256 == sha256) & (images.c.page == page)


def _of_task(
    table: FromClause, project: int | Column[int], task: int | Column[int]
) -> ColumnElement[bool]:
    return and_(table.c.project == project, table.c.task == task)


def _image(row: Row[Any]) -> StoredImage:
    return StoredImage(
        row.project,
        row.sha256,
        row.page,
        row.name,
        row.width,
        row.height,
        row.task,
        row.side,
        row.fingerprint,
    )
