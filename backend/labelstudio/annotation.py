"""One annotation, as Label Studio sends it in events and by its API."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from backend.errors import BadRequest
from backend.numbers import NUMBERS_END

#: No page is open for longer: a longer time has another unit, or is a mistake.
_LONGEST_S = 1e7


@dataclass(frozen=True)
class Annotation:
    """One annotation.

    Parameters
    ----------
    id, project, task
        Label Studio's.
    result
        The regions as Label Studio sends them, in percent.
    was_cancelled
        The annotator skipped the task: there is nothing to learn from.
    annotator
        Label Studio's number for the user who submitted it first; ``Annotators`` knows the name.
    updated_by
        The number of the user who changed it last; None if Label Studio does not say.
    lead_time
        Seconds that the annotator took over all updates, including idle time.
    parent_prediction
        Label Studio's id of the prediction that it started from.
    """

    id: int
    project: int
    task: int
    result: tuple[dict[str, Any], ...]
    created_at: datetime
    updated_at: datetime
    was_cancelled: bool = False
    annotator: str | None = None
    updated_by: str | None = None
    lead_time: float | None = None
    parent_prediction: int | None = None

    @classmethod
    def from_label_studio(
        cls, values: Mapping[str, Any], project: int, task: int | None = None
    ) -> Self:
        """Read an annotation from a webhook or the API.

        Parameters
        ----------
        project, task
            Used if the annotation does not name them itself; events name the task.

        Raises
        ------
        BadRequest
            Something is missing or is not what Label Studio sends.
        """
        try:
            return cls(
                id=_number(values["id"]),
                project=_number(values.get("project", project)),
                task=_number(values.get("task", task)),
                result=tuple(dict(region) for region in values["result"] or ()),
                created_at=_moment(values["created_at"]),
                updated_at=_moment(values["updated_at"]),
                was_cancelled=bool(values.get("was_cancelled")),
                annotator=_user(values.get("completed_by")),
                updated_by=_user(values.get("updated_by")),
                lead_time=_seconds(values.get("lead_time")),
                parent_prediction=_prediction(values.get("parent_prediction")),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadRequest(f"This is no annotation of Label Studio: {error!r}") from error


def _number(told: Any) -> int:
    number = int(told)
    if not 0 <= number < NUMBERS_END:
        raise ValueError(f"{number} is no number of Label Studio's")
    return number


def _prediction(told: Any) -> int | None:
    """Return the id of a prediction; None for what cannot be one of Label Studio's ids."""
    try:
        return _number(told)
    except (TypeError, ValueError, OverflowError):
        return None


def _moment(told: Any) -> datetime:
    moment = datetime.fromisoformat(told)
    if moment.tzinfo is None:
        raise ValueError(f"{told} names no time zone")
    return moment.astimezone(UTC)


def _seconds(lead_time: Any) -> float | None:
    """Return a usable time; another program's annotation may contain anything."""
    if lead_time is None or not math.isfinite(float(lead_time)):
        return None
    return min(max(float(lead_time), 0.0), _LONGEST_S)


def _user(told: object) -> str | None:
    if isinstance(told, Mapping):
        told = told.get("id")
    return None if told is None else str(told)
