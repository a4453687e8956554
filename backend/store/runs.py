"""The runs: the truth about which training was asked for, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, Select, Update, func, select, update

from backend.errors import NotFound
from backend.store.database import upsert, writing
from backend.store.tables import ACTIVE, now, runs
from model.versions import GateDecision

Trigger = Literal["milestone", "button"]
State = Literal["queued", "running", "promoted", "refused", "failed", "cancelled"]


@dataclass(frozen=True)
class Run:
    """One run of training, evaluation and gate.

    Parameters
    ----------
    milestone
        Corrected images when it was opened (button), or the milestone that was reached.
    attempt
        Counts the runs at one milestone, from 1.
    stage, fraction
        What it does at present, and how much of that is done, in [0, 1].
    message
        For the user: what happens, or why it ended as it did.
    candidate, champion
        Ids of the versions that were compared.
    snapshot
        Hash of what it learned from.
    """

    id: int
    project: int
    milestone: int
    attempt: int
    trigger: Trigger
    state: State
    stage: str
    fraction: float
    message: str
    candidate: str | None
    champion: str | None
    snapshot: str | None
    decision: GateDecision | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


class Runs:
    """The runs in the store; each change is one statement, safe from several processes at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, project: int, milestone: int, trigger: Trigger) -> Run | None:
        """Open a run, exactly once.

        Returns
        -------
        None when the milestone has a run already, or one that the button opened is not done yet.

        Raises
        ------
        NotFound
            When the project is not known.
        """
        attempt = self._next_attempt(project, milestone) if trigger == "button" else 1
        with writing(self._engine, project) as connection:
            insert = upsert(connection, runs).values(
                project=project, milestone=milestone, attempt=attempt, trigger=trigger
            )
            id = connection.scalar(insert.on_conflict_do_nothing().returning(runs.c.id))
        return None if id is None else self.get(id)

    def get(self, id: int) -> Run:
        """Return a run.

        Raises
        ------
        NotFound
            When there is none of that id.
        """
        found = self._read(select(runs).where(runs.c.id == id))
        if not found:
            raise NotFound(f"There is no run {id}; `cytoloop status` shows the runs.")
        return found[0]

    def all(self, project: int | None = None) -> list[Run]:
        """Return the runs of a project, or of all, newest first."""
        query = select(runs).order_by(runs.c.id.desc())
        return self._read(query if project is None else query.where(runs.c.project == project))

    def active(self, project: int) -> Run | None:
        """Return the run that runs, else the one that has waited longest, else None."""
        waiting = [run for run in reversed(self.all(project)) if run.is_active]
        return min(waiting, key=lambda run: run.state != "running", default=None)

    def start(self, id: int) -> Run | None:
        """Take a waiting run; None when it does not wait (a doubled job, a cancelled run)."""
        taken = self._change(
            update(runs)
            .where(runs.c.id == id, runs.c.state == "queued")
            .values(state="running", started_at=now(), message="")
        )
        return self.get(id) if taken else None

    def requeue(self, id: int, message: str) -> bool:
        """Let a run that was cut off wait again; False when it does not run."""
        return self._change(
            update(runs)
            .where(runs.c.id == id, runs.c.state == "running")
            .values(state="queued", stage="", fraction=0.0, message=message)
        )

    def progress(self, id: int, **fields: Any) -> bool:
        """Say what a run does: stage, fraction, message, snapshot, candidate, champion.

        Returns
        -------
        False when the run does not run any more, such as after it was cancelled.
        """
        return self._change(
            update(runs).where(runs.c.id == id, runs.c.state == "running").values(fields)
        )

    def finish(
        self,
        id: int,
        state: State,
        message: str = "",
        decision: GateDecision | None = None,
        **fields: Any,
    ) -> bool:
        """End a run; the first to end it is the one that counts.

        Returns
        -------
        False when it had ended already.
        """
        values = {
            **fields,
            "state": state,
            "message": message,
            "finished_at": now(),
            "decision": decision.to_json() if decision else None,
        }
        return self._change(
            update(runs).where(runs.c.id == id, runs.c.state.in_(ACTIVE)).values(values)
        )

    def milestones_done(self, project: int) -> set[int]:
        """Return the milestones at which a run was opened, whatever became of it."""
        query = select(runs.c.milestone).where(runs.c.project == project).distinct()
        with self._engine.connect() as connection:
            return set(connection.scalars(query))

    def learned(self, project: int, snapshot: str) -> Run | None:
        """Return the newest run that went all the way through with this snapshot, if any."""
        through = (runs.c.snapshot == snapshot, runs.c.state.in_(("promoted", "refused")))
        query = select(runs).where(runs.c.project == project, *through)
        found = self._read(query.where(runs.c.candidate.is_not(None)).order_by(runs.c.id.desc()))
        return found[0] if found else None

    def _next_attempt(self, project: int, milestone: int) -> int:
        query = select(func.max(runs.c.attempt)).where(
            runs.c.project == project, runs.c.milestone == milestone
        )
        with self._engine.connect() as connection:
            return (connection.scalar(query) or 0) + 1

    def _change(self, statement: Update) -> bool:
        with self._engine.begin() as connection:
            return bool(connection.execute(statement).rowcount)

    def _read(self, query: Select[Any]) -> list[Run]:
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [Run(**{**row, "decision": _decision(row["decision"])}) for row in rows]


def _decision(values: dict[str, Any] | None) -> GateDecision | None:
    return GateDecision.from_json(values) if values else None
