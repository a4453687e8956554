"""The exact boxes that were served, to compare corrections with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

from sqlalchemy import Column, ColumnElement, Engine, Row, Select, and_, exists, not_, or_, select

from backend.store.annotations import corrected_tasks
from backend.store.database import upsert, writing
from backend.store.tables import images, now, predictions, tasks
from model.judging.policy import version_of
from preprocessing.images import PageKey

WatchKind = Literal["blank", "fault"]


@dataclass(frozen=True)
class Watch:
    """How a prediction was changed to see how well boxes are checked (``backend.effort.watch``).

    Parameters
    ----------
    kind
        ``blank``: without any box; ``fault``: with one box taken away and a false one put in.
    withheld
        Regions that were found and not shown, best first.
    telling
        How many of them, from the first, are almost certainly cells: only these show whether an
        annotator draws what is missing.
    planted
        Regions that were shown and are no cell.
    """

    kind: WatchKind
    withheld: tuple[dict[str, Any], ...]
    telling: int
    planted: tuple[dict[str, Any], ...]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        lists = {name: tuple(values[name]) for name in ("withheld", "planted")}
        return cls(**{**values, **lists})


@dataclass(frozen=True)
class StoredPrediction:
    """What one task was shown.

    Parameters
    ----------
    sha256, page
        The image.
    served
        Name of version and policy, as sent to Label Studio.
    regions
        As sent to Label Studio, in percent.
    score
        Score of the whole prediction; Label Studio may order the tasks by it.
    contrast_group
        The image's contrast group, by the version that served.
    flags
        What to know before trusting the boxes: an image unlike all before, a limit reached.
    watch
        None if the boxes were shown as they were found.
    counted_from
        Score from which a box counts; with 0 all that was found counts.
    """

    project: int
    task: int
    sha256: str
    page: int
    served: str
    regions: Sequence[dict[str, Any]]
    score: float | None = None
    contrast_group: str = ""
    flags: Sequence[str] = ()
    created_at: datetime = field(default_factory=now)
    watch: Watch | None = None
    counted_from: float = 0.0

    @property
    def key(self) -> PageKey:
        return self.sha256, self.page

    @property
    def counted(self) -> tuple[dict[str, Any], ...]:
        """The regions that count as long as nobody corrects them."""
        return tuple(r for r in self.found if r.get("score", 1.0) >= self.counted_from)

    @property
    def found(self) -> tuple[dict[str, Any], ...]:
        """The regions as they were found, whatever was shown."""
        if self.watch is None:
            return tuple(self.regions)
        planted = {region["id"] for region in self.watch.planted}
        shown = (region for region in self.regions if region["id"] not in planted)
        return (*shown, *self.watch.withheld)

    @property
    def is_blind(self) -> bool:
        """Whether nothing was shown although something may have been found."""
        return self.watch is not None and self.watch.kind == "blank"


class Predictions:
    """The predictions in the store: for each task, one by each version and policy shown."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, prediction: StoredPrediction) -> None:
        """Keep a prediction; a second one of the same version and policy replaces the first.

        A prediction for this image with a planted fault stays, though: an annotation may have begun
        with it, and nothing else records the fault.

        Raises
        ------
        NotFound
            The project is not known.
        """
        values = {
            **vars(prediction),
            "regions": list(prediction.regions),
            "flags": list(prediction.flags),
            "watch": asdict(prediction.watch) if prediction.watch else None,
        }
        with writing(self._engine, prediction.project) as connection:
            insert = upsert(connection, predictions).values(values)
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["project", "task", "served"],
                    set_=values,
                    where=or_(
                        predictions.c.watch.is_(None),
                        predictions.c.watch["kind"].as_string() != "fault",
                        not_(_is_of(*prediction.key)),
                    ),
                )
            )

    def last_shown(
        self,
        project: int,
        task: int,
        name: str = "",
        until: datetime | None = None,
        image: PageKey | None = None,
    ) -> StoredPrediction | None:
        """Return what a task shows while a version serves it.

        After a roll-back these are the version's earlier boxes, which are not stored anew.

        Parameters
        ----------
        name
            The version's id, or its name with a policy. If the task has no prediction by it, or the
            name is empty, the newest of any version is returned.
        until
            Only what was stored by then; None for all.
        image
            The task's image; None for any, although another task may have had the number before, in
            a Label Studio restored from a copy.
        """
        there = [predictions.c.task == task]
        if until is not None:
            there.append(predictions.c.created_at <= until)
        if image is not None:
            there.append(_is_of(*image))
        return self._best(project, name, there)

    def last_shown_of(
        self, project: int, sha256: str, page: int, name: str
    ) -> StoredPrediction | None:
        """Return what an image shows while a version serves it, in any of its tasks."""
        own = (images.c.project == project, images.c.sha256 == sha256, images.c.page == page)
        of_image = select(tasks.c.task).join(images, images.c.id == tasks.c.image).where(*own)
        there = [predictions.c.task.in_(of_image), _is_of(sha256, page)]
        return self._best(project, name, there)

    def _best(
        self, project: int, name: str, there: Sequence[ColumnElement[bool]]
    ) -> StoredPrediction | None:
        """Return the newest of a version, if possible in the named policy; else of any version."""
        column, version = predictions.c.served, version_of(name)
        of_it = or_(column == version, column.startswith(f"{version}+", autoescape=True))
        best_first = _newest_first(project, of_it.desc(), (column == name).desc())
        with self._engine.connect() as connection:
            row = connection.execute(best_first.where(*there).limit(1)).one_or_none()
        return None if row is None else _prediction(row)

    def of_task(self, project: int, task: int) -> list[StoredPrediction]:
        """Return everything that a task was shown, newest first."""
        query = _newest_first(project).where(predictions.c.task == task)
        with self._engine.connect() as connection:
            return [_prediction(row) for row in connection.execute(query)]

    def served_names(self, project: int, task: int) -> set[str]:
        """Return the names of all that served a task."""
        query = select(predictions.c.served).where(
            predictions.c.project == project, predictions.c.task == task
        )
        with self._engine.connect() as connection:
            return set(connection.scalars(query))

    def shown_tasks(self, project: int, served_name: str = "") -> set[int]:
        """Return the tasks that were ever shown anything, or anything served under a name."""
        query = select(predictions.c.task).where(predictions.c.project == project).distinct()
        if served_name:
            query = query.where(predictions.c.served == served_name)
        with self._engine.connect() as connection:
            return set(connection.scalars(query))

    def has_any(self, project: int) -> bool:
        """Tell whether any task of a project was ever shown anything."""
        with self._engine.connect() as connection:
            there = exists().where(predictions.c.project == project)
            return bool(connection.scalar(select(there)))

    def watched_tasks(self, project: int) -> set[int]:
        """Return the tasks that were ever shown less or more than was found."""
        query = select(predictions.c.task).where(
            predictions.c.project == project, predictions.c.watch.is_not(None)
        )
        with self._engine.connect() as connection:
            return set(connection.scalars(query))

    def count_flagged(self, project: int, served_name: str, flag: str) -> int:
        """Return the number of images whose served boxes have a flag that begins with ``flag``.

        Only images that still have a task and that nobody corrected: otherwise the drawn boxes
        count.
        """
        shown = and_(tasks.c.project == predictions.c.project, tasks.c.task == predictions.c.task)
        corrected = select(tasks.c.image).where(
            tasks.c.project == project, tasks.c.task.in_(corrected_tasks(project))
        )
        query = (
            select(tasks.c.image, predictions.c.flags)
            .join(tasks, shown)
            .where(predictions.c.project == project, predictions.c.served == served_name)
            .where(tasks.c.image.not_in(corrected))
        )
        with self._engine.connect() as connection:
            kept = connection.execute(query).all()
        return len({image for image, flags in kept if any(f.startswith(flag) for f in flags)})


def _newest_first(project: int, *before: ColumnElement[Any]) -> Select[Any]:
    """Return the query of what tasks were shown, by ``before`` and then newest first."""
    return (
        select(predictions)
        .where(predictions.c.project == project)
        .order_by(*before, predictions.c.created_at.desc(), predictions.c.id.desc())
    )


def _is_of(sha256: str | Column[str], page: int | Column[int]) -> ColumnElement[bool]:
    return and_(predictions.c.sha256 == sha256, predictions.c.page == page)


def _prediction(row: Row[Any]) -> StoredPrediction:
    lists = {"regions": tuple(row.regions), "flags": tuple(row.flags)}
    watch = Watch.from_json(row.watch) if row.watch else None
    values = {k: v for k, v in row._mapping.items() if k != "id"}
    return StoredPrediction(**{**values, **lists, "watch": watch})
