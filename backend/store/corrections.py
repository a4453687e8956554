"""What each annotation did to the boxes it was served, and how long that took."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

from sqlalchemy import Engine, Row, and_, not_, select

from backend.actions import KINDS, Actions
from backend.labelstudio.annotation import Annotation
from backend.store.annotations import annotation_of, brought_in, counting
from backend.store.database import upsert, writing
from backend.store.tables import annotations, corrections, submits

#: An annotation began with served boxes, with an empty image, or outside any page (an import),
#: whatever happened to it later.
Start = Literal["prediction", "nothing", "import"]

#: Fields that are not kept: they are known from elsewhere, or not yet.
_NOT_KEPT = ("actions", "task", "updated_by", "totals_s", "longest_s")


@dataclass(frozen=True)
class Correction:
    """What one annotation, as it is now, did to the boxes it was served.

    Parameters
    ----------
    annotation
        Label Studio's id.
    annotator, updated_by
        As in ``Annotation``; ``annotator`` is empty if Label Studio did not say.
    served
        Name of the version and policy whose boxes were corrected; empty if there were none.
    contrast_group
        The image's contrast group, by that version.
    cells
        The number of submitted boxes.
    overlaps
        IoU of each moved box with the served one.
    doubts
        The number of boxes whose ``origin`` in Label Studio contradicts the comparison.
    watched
        ``blank`` or ``fault`` if the boxes were not shown as they were found, otherwise empty.
    hidden, drawn
        The number of telling boxes that were withheld, and how many of them the annotator drew.
    planted, accepted
        The number of false boxes that were shown, and how many of them were let stand.
    totals_s
        Label Studio's running total of seconds at each submit, in order.
    longest_s
        Seconds beyond this are a break, not work (``costing.without_breaks``).
    """

    annotation: int
    project: int
    task: int
    submitted_at: datetime
    annotator: str
    start: Start
    served: str
    contrast_group: str
    actions: Actions
    cells: int
    overlaps: tuple[float, ...] = ()
    doubts: int = 0
    watched: str = ""
    hidden: int = 0
    drawn: int = 0
    planted: int = 0
    accepted: int = 0
    updated_by: str | None = None
    totals_s: tuple[float, ...] = ()
    longest_s: float = math.inf

    @property
    def is_reviewed(self) -> bool:
        """Whether another than its annotator changed it last; then it shows the work of both."""
        return self.updated_by not in (None, self.annotator)

    @property
    def seconds(self) -> float | None:
        """The time of all submits, with breaks cut short; None if Label Studio gave no time.

        Label Studio's total grows with each update, so each submit counts what it added.
        """
        if not self.totals_s:
            return None
        added = (after - before for before, after in pairwise((0.0, *self.totals_s)))
        return min(sum(max(seconds, 0.0) for seconds in added), self.longest_s)


class Corrections:
    """The corrections in the store, derived from annotations and predictions if missing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def unmeasured(self, project: int) -> list[Annotation]:
        """Return the annotations that were never compared, or were submitted again since.

        They include annotations from outside any page that are kept as drawn by hand or after
        nothing was found. The import became known late, or they were kept before imports were
        recognised by their first submit or by boxes of an unknown prediction.
        """
        of_served = (corrections.c[kind] == 0 for kind in KINDS if kind != "added")
        drawn = and_(corrections.c.start.in_(("nothing", "prediction")), *of_served)
        known = and_(
            corrections.c.annotation == annotations.c.id,
            corrections.c.submitted_at == annotations.c.updated_at,
            not_(and_(drawn, brought_in())),
            not_(and_(corrections.c.start == "nothing", corrections.c.doubts > 0)),
        )
        query = (
            select(annotations)
            .select_from(annotations.join(corrections, known, isouter=True))
            .where(counting(project), corrections.c.annotation.is_(None))
            .order_by(annotations.c.id)
        )
        with self._engine.connect() as connection:
            return [annotation_of(row) for row in connection.execute(query)]

    def put(self, correction: Correction) -> None:
        """Keep what an annotation did, replacing what was known of it.

        Raises
        ------
        NotFound
            The project is not known.
        """
        values = {k: v for k, v in vars(correction).items() if k not in _NOT_KEPT}
        values |= vars(correction.actions) | {"overlaps": list(correction.overlaps)}
        with writing(self._engine, correction.project) as connection:
            insert = upsert(connection, corrections).values(values)
            connection.execute(
                insert.on_conflict_do_update(index_elements=["annotation"], set_=values)
            )

    def all(self, project: int, unkept: Mapping[int, Correction]) -> list[Correction]:
        """Return the corrections of the annotations that count, in order of first submit.

        Parameters
        ----------
        unkept
            Corrections that could not be kept, by annotation; they replace the kept ones.
        """
        kept = corrections.c.annotation == annotations.c.id
        query = (
            select(corrections, annotations.c.id, annotations.c.task, annotations.c.updated_by)
            .select_from(annotations.join(corrections, kept, isouter=True))
            .where(counting(project))
            .order_by(annotations.c.created_at, annotations.c.id)
        )
        with self._engine.connect() as connection:
            totals = _totals(connection.execute(_totals_of(project)).all())
            rows = connection.execute(query).all()
        return [
            replace(unkept[row.id], updated_by=row.updated_by, totals_s=totals[row.id])
            if row.id in unkept
            else _correction(row, totals[row.id])
            for row in rows
            if row.id in unkept or row.annotation is not None
        ]


def _totals_of(project: int) -> Any:
    return (
        select(submits.c.annotation, submits.c.lead_time)
        .join(annotations, annotations.c.id == submits.c.annotation)
        .where(annotations.c.project == project, submits.c.lead_time.is_not(None))
        .order_by(submits.c.submitted_at)
    )


def _totals(rows: Sequence[Row[Any]]) -> defaultdict[int, tuple[float, ...]]:
    totals: defaultdict[int, tuple[float, ...]] = defaultdict(tuple)
    for row in rows:
        totals[row.annotation] += (row.lead_time,)
    return totals


def _correction(row: Row[Any], totals_s: tuple[float, ...]) -> Correction:
    values = {k: v for k, v in row._mapping.items() if k not in (*KINDS, "overlaps", "id")}
    return Correction(
        **values,
        actions=Actions(*(row._mapping[kind] for kind in KINDS)),
        overlaps=tuple(row.overlaps),
        totals_s=totals_s,
    )
