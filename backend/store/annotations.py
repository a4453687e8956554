"""What annotators submitted. Events report it; they may be lost, doubled or out of order."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    and_,
    delete,
    distinct,
    func,
    select,
    true,
    update,
)

from backend.labelstudio.annotation import Annotation
from backend.labelstudio.results import count_labels
from backend.store.database import upsert, writing
from backend.store.tables import annotations, now, projects, submits, tasks

#: How many annotations one transaction deletes.
_AT_ONCE = 1000


@dataclass(frozen=True)
class Held:
    """The state of an annotation in the store at a moment."""

    updated_at: datetime
    deleted: bool


class Annotations:
    """The annotations in the store.

    Every change is one statement that compares and writes. So events of one annotation may arrive
    at the same time, twice and in any order.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def record(self, annotation: Annotation, held: Held | None = None) -> bool:
        """Keep an annotation as it is now.

        Parameters
        ----------
        held
            Its state in the store before Label Studio was asked for everything. If the state is
            still the same, what Label Studio lists is true, even if it is older or deleted here:
            Label Studio was restored from a copy. None for an event, which may be late.

        Returns
        -------
        False if this was known, is older than what is known, or the annotation was deleted. An
        annotation made after the deleted one of its number is another: a Label Studio restored from
        a copy gives numbers again.

        Raises
        ------
        NotFound
            The project is not known.
        """
        values = {
            **vars(annotation),
            "deleted": False,
            "result": list(annotation.result),
            # Counted here, so that no reader must go through all regions.
            "labels": dict(count_labels(annotation.result)),
        }
        another = annotations.c.deleted & (annotations.c.updated_at < annotation.created_at)
        older = (annotations.c.updated_at < annotation.updated_at) & (
            ~annotations.c.deleted | another
        )
        replaced = older if held is None else older | _put_back(annotation, held)
        with writing(self._engine, annotation.project) as connection:
            # The times of an earlier annotation with the same number belong to that one.
            before = select(annotations.c.id).where(annotations.c.id == annotation.id, another)
            connection.execute(delete(submits).where(submits.c.annotation.in_(before)))
            insert = upsert(connection, annotations).values(values)
            changed = insert.on_conflict_do_update(
                index_elements=["id"], set_=values, where=replaced
            )
            total = upsert(connection, submits).values(
                annotation=annotation.id,
                submitted_at=annotation.updated_at,
                lead_time=annotation.lead_time,
            )
            connection.execute(total.on_conflict_do_nothing())
            # RETURNING says whether it changed: PostgreSQL's driver does not count rows of an
            # upsert.
            if connection.scalar(changed.returning(annotations.c.id)) is None:
                _count_if_late(connection, annotation)
                return False
            # Label Studio no longer knows submits after this one.
            of_it = submits.c.annotation == annotation.id
            undone = of_it & (submits.c.submitted_at > annotation.updated_at)
            connection.execute(delete(submits).where(undone))
            return True

    def delete(self, project: int, ids: Iterable[int]) -> int:
        """Forget annotations of a project: a late event does not bring one back.

        Annotations known to be another project's stay.

        Returns
        -------
        How many were there and are now deleted.

        Raises
        ------
        NotFound
            The project is not known.
        """
        sorted_ids = sorted(set(ids))
        # In parts, so that other writers never wait for long.
        return sum(
            self._delete(project, sorted_ids[start : start + _AT_ONCE])
            for start in range(0, len(sorted_ids), _AT_ONCE)
        )

    def _delete(self, project: int, ids: Sequence[int]) -> int:
        own = annotations.c.project == project
        there = own & annotations.c.id.in_(ids) & annotations.c.deleted.is_(False)
        rows = [{"id": id, "project": project, "deleted": True, "updated_at": now()} for id in ids]
        with writing(self._engine, project) as connection:
            known = connection.scalar(select(func.count()).where(there)) or 0
            forgotten = upsert(connection, annotations).on_conflict_do_update(
                index_elements=["id"], set_={"deleted": True}, where=own
            )
            connection.execute(forgotten, rows)
        return known

    def held(self, project: int) -> dict[int, Held]:
        """Return the state of each annotation of a project, including deleted ones, by id."""
        columns = annotations.c.id, annotations.c.updated_at, annotations.c.deleted
        query = select(*columns).where(annotations.c.project == project)
        with self._engine.connect() as connection:
            return {row.id: Held(row.updated_at, row.deleted) for row in connection.execute(query)}

    def known(self, project: int) -> dict[int, int]:
        """Return, by id, the task of each annotation of a project that was not deleted."""
        query = select(annotations.c.id, annotations.c.task).where(
            annotations.c.project == project, annotations.c.deleted.is_(False)
        )
        with self._engine.connect() as connection:
            return {row.id: row.task for row in connection.execute(query)}

    def number(self, project: int) -> int:
        """Return how many annotations a project has, including skipped ones."""
        there = (annotations.c.project == project, annotations.c.deleted.is_(False))
        with self._engine.connect() as connection:
            return connection.scalar(select(func.count()).where(*there)) or 0

    def corrected(self, project: int, among: Collection[int] | None = None) -> list[Annotation]:
        """Return one annotation for each corrected task: the newest that was not skipped.

        Parameters
        ----------
        among
            Only these tasks; None for all, whose boxes may fill the memory.

        Returns
        -------
        In the order in which the tasks were first corrected.
        """
        query = _newest_of_each_task(project, among)
        with self._engine.connect() as connection:
            return [annotation_of(row) for row in connection.execute(query)]

    def corrected_in_order(self, project: int) -> list[int]:
        """Return the corrected tasks in the order in which they were first corrected."""
        task = annotations.c.task
        query = corrected_tasks(project).group_by(task)
        with self._engine.connect() as connection:
            ordered = query.order_by(func.min(annotations.c.created_at), task)
            return list(connection.scalars(ordered))

    def skipped_tasks(self, project: int) -> set[int]:
        """Return the tasks that annotators skipped and nobody corrected."""
        those = select(annotations.c.task).where(annotations.c.project == project)
        skipped = those.where(annotations.c.was_cancelled, annotations.c.deleted.is_(False))
        with self._engine.connect() as connection:
            return set(connection.scalars(skipped.except_(corrected_tasks(project))))

    def is_brought_in(self, id: int) -> bool:
        """Tell whether an annotation was made outside any page, such as by an import.

        That stays so if somebody updates it in a page.
        """
        query = select(annotations.c.id).where(annotations.c.id == id, brought_in())
        with self._engine.connect() as connection:
            return connection.scalar(query) is not None

    def corrected_count(self, project: int) -> int:
        """Return how many images have an annotation that was not skipped; each counts once.

        An image that has not come from Label Studio, or cannot be read, does not count: nothing can
        be learned from it.
        """
        query = select(func.count(distinct(tasks.c.image))).where(
            tasks.c.project == project, tasks.c.task.in_(corrected_tasks(project))
        )
        with self._engine.connect() as connection:
            return connection.scalar(query) or 0

    def lacking_image(self, project: int) -> set[int]:
        """Return the corrected tasks whose image is not known."""
        known = select(tasks.c.task).where(tasks.c.project == project)
        with self._engine.connect() as connection:
            return set(connection.scalars(corrected_tasks(project).except_(known)))


def corrected_tasks(project: int) -> Select[tuple[int]]:
    """Return the query of the tasks that have an annotation that was not skipped."""
    return select(annotations.c.task).where(counting(project))


def counting(project: int) -> ColumnElement[bool]:
    """Return the condition for annotations of a project that count: not skipped, not deleted."""
    columns = annotations.c
    return and_(
        columns.project == project, columns.was_cancelled.is_(False), columns.deleted.is_(False)
    )


def _count_if_late(connection: Connection, annotation: Annotation) -> None:
    """Count a refused annotation as a late event, unless it was known or is deleted."""
    columns = annotations.c
    later = (columns.updated_at > annotation.updated_at) & columns.deleted.is_(False)
    is_late = select(columns.id).where(columns.id == annotation.id, later).exists()
    owner = update(projects).where(projects.c.id == annotation.project, is_late)
    connection.execute(owner.values(late_events=projects.c.late_events + 1))


def _put_back(annotation: Annotation, held: Held) -> ColumnElement[bool]:
    columns = annotations.c
    as_held = columns.deleted.is_(held.deleted) & (columns.updated_at == held.updated_at)
    return as_held & (columns.deleted | (columns.updated_at > annotation.updated_at))


def brought_in() -> ColumnElement[bool]:
    """Return the condition for annotations made outside any page: their first submit has no time.

    An annotation that names its prediction began with that.
    """
    first = (
        select(submits.c.lead_time)
        .where(submits.c.annotation == annotations.c.id)
        .order_by(submits.c.submitted_at)
        .limit(1)
        .correlate(annotations)
        .scalar_subquery()
    )
    return and_(annotations.c.parent_prediction.is_(None), first.is_(None))


def _newest_of_each_task(project: int, among: Collection[int] | None) -> Select[Any]:
    columns = annotations.c
    asked = true() if among is None else columns.task.in_(among)
    newest_first = (columns.updated_at.desc(), columns.id.desc())
    ranked = (
        select(
            *columns,
            func.row_number().over(partition_by=columns.task, order_by=newest_first).label("rank"),
            func.min(columns.created_at).over(partition_by=columns.task).label("first"),
        )
        .where(counting(project), asked)
        .subquery()
    )
    return select(ranked).where(ranked.c.rank == 1).order_by(ranked.c["first"], ranked.c.task)


def annotation_of(row: Row[Any]) -> Annotation:
    """Read a row of the table of annotations."""
    return Annotation(
        id=row.id,
        project=row.project,
        task=row.task,
        result=tuple(row.result),
        created_at=row.created_at,
        updated_at=row.updated_at,
        was_cancelled=row.was_cancelled,
        annotator=row.annotator,
        updated_by=row.updated_by,
        lead_time=row.lead_time,
        parent_prediction=row.parent_prediction,
    )
