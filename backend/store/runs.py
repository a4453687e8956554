"""The runs: the truth about which trainings were asked for, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Engine, RowMapping, Select, Update, case, exists, func, select, update

from backend.errors import NotFound
from backend.store.database import upsert, writing
from backend.store.tables import ACTIVE, now, runs
from model.versions import GateDecision

Trigger = Literal["milestone", "button"]
State = Literal["queued", "running", "promoted", "refused", "failed", "cancelled", "covered"]

#: A run that was cut off this often without getting further is not taken up again.
MOST_CUT_OFFS = 5
#: The stage from which a run can no longer be cancelled.
PROMOTING = "promoting"


@dataclass(frozen=True)
class Run:
    """One run of training, evaluation and gate.

    Parameters
    ----------
    milestone
        Number of corrected images when it was opened (button), or the milestone reached.
    attempt
        Counts the runs at one milestone, from 1.
    stage, fraction
        What it does now, and the share of the run that is done, in [0, 1].
    message
        For the user: what happens, or why it ended as it did.
    candidate, champion
        Ids of the compared versions.
    snapshot
        Hash of the snapshot that it learned from.
    corrected
        Number of corrected images when its snapshot was frozen; milestones up to it need no other
        run.
    notes
        What was changed or left out as the snapshot was frozen.
    iteration, iterations, loss, ap50, seconds_left
        Optimiser steps done and planned, mean loss of the last steps, AP50 on images it does not
        learn from (during training from the last look at the inner side, then as judged), and the
        time that the rest will take; 0 or None if not known.
    cut_offs, cut_off_at
        How often its process died without getting beyond the fraction ``cut_off_at``.
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
    corrected: int | None
    notes: tuple[str, ...]
    iteration: int
    iterations: int
    loss: float | None
    ap50: float | None
    seconds_left: float | None
    cut_offs: int
    cut_off_at: float
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    def to_json(self) -> dict[str, Any]:
        """Return the run for programs: what it does, how far it is, and what the gate decided."""
        return {
            "job": str(self.id),
            "project": self.project,
            "milestone": self.milestone,
            "attempt": self.attempt,
            "trigger": self.trigger,
            "state": self.state,
            "stage": self.stage,
            "fraction": round(self.fraction, 4),
            "iteration": self.iteration,
            "iterations": self.iterations,
            "loss": self.loss,
            "ap50": self.ap50,
            "seconds_left": self.seconds_left,
            "message": self.message,
            "corrected": self.corrected,
            "candidate": self.candidate,
            "champion": self.champion,
            "reasons": list(self.decision.reasons) if self.decision else [],
            "created_at": self.created_at.isoformat(),
            "started_at": self.started_at.isoformat() if self.started_at else None,
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
        }


class Runs:
    """The runs in the store; each change is one statement, safe with several processes at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, project: int, milestone: int, trigger: Trigger) -> Run | None:
        """Open a run, exactly once.

        Returns
        -------
        None if the milestone already has a run, or if a run opened by the button is not done yet.

        Raises
        ------
        NotFound
            The project is not known.
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
            There is no run of that id.
        """
        found = self._read(select(runs).where(runs.c.id == id))
        if not found:
            raise NotFound(f"There is no run {id}; `cytoloop runs list` shows the runs.")
        return found[0]

    def all(self, project: int | None = None) -> list[Run]:
        """Return the runs of a project, or of all, newest first."""
        query = select(runs).order_by(runs.c.id.desc())
        return self._read(query if project is None else query.where(runs.c.project == project))

    def ended(self, project: int, most: int) -> list[Run]:
        """Return the ``most`` runs of a project that ended last, newest end first.

        Covered runs are left out: they were opened after the run that covers them and end before
        it.
        """
        query = (
            select(runs)
            .where(runs.c.project == project, runs.c.state.not_in((*ACTIVE, "covered")))
            .order_by(func.coalesce(runs.c.finished_at, runs.c.created_at).desc(), runs.c.id.desc())
        )
        return self._read(query.limit(most))

    def has_learned(self, project: int) -> bool:
        """Tell whether a run of a project ever trained a version."""
        trained = exists().where(runs.c.project == project, runs.c.candidate.is_not(None))
        with self._engine.connect() as connection:
            return bool(connection.scalar(select(trained)))

    def unfinished(self, project: int | None = None) -> list[Run]:
        """Return the waiting and running runs of a project, or of all, oldest first."""
        query = select(runs).where(runs.c.state.in_(ACTIVE)).order_by(runs.c.id)
        return self._read(query if project is None else query.where(runs.c.project == project))

    def active(self, project: int) -> Run | None:
        """Return the running run, or the one that has waited longest, or None."""
        unfinished = self.unfinished(project)
        return min(unfinished, key=lambda run: run.state != "running", default=None)

    def start(self, id: int) -> Run | None:
        """Take a waiting run; None if it does not wait (a doubled job, a cancelled run)."""
        taken = self._change(
            update(runs)
            .where(runs.c.id == id, runs.c.state == "queued")
            .values(state="running", started_at=now(), message="")
        )
        return self.get(id) if taken else None

    def freeze(self, id: int, snapshot: str, corrected: int, notes: Sequence[str]) -> list[int]:
        """Record what a run learns from, and end the waiting milestone runs that it covers.

        Returns
        -------
        Ids of the covered runs.
        """
        frozen = {"snapshot": snapshot, "corrected": corrected, "notes": list(notes)}
        covered = {
            "state": "covered",
            "message": f"Run {id} learns from these corrections too.",
            "finished_at": now(),
        }
        this = select(runs.c.project).where(runs.c.id == id, runs.c.state == "running")
        reached = (
            runs.c.project == this.scalar_subquery(),
            runs.c.state == "queued",
            runs.c.trigger == "milestone",
            runs.c.milestone <= corrected,
        )
        with self._engine.begin() as connection:
            running = (runs.c.id == id, runs.c.state == "running")
            connection.execute(update(runs).where(*running).values(frozen))
            ended = update(runs).where(*reached).values(covered).returning(runs.c.id)
            return list(connection.scalars(ended))

    def cut_off(self, run: Run, how: str) -> bool:
        """Make a run whose process died wait again, or end it if it gets no further.

        Parameters
        ----------
        run
            The run as it was when its process was found dead: each death counts once, whoever else
            noticed it.
        how
            What became of the process, such as ``was killed (SIGKILL)``.

        Returns
        -------
        Whether it waits again.
        """
        further = run.fraction > run.cut_off_at
        times = 1 if further else run.cut_offs + 1
        values: dict[str, Any] = {
            "cut_offs": times,
            "cut_off_at": max(run.fraction, run.cut_off_at),
        }
        if times < MOST_CUT_OFFS:
            message = f"Its process {how}; it goes on from its last checkpoint."
            # Its candidate, if being promoted, may be champion by now: no cancelling any more.
            stage = run.stage if run.stage == PROMOTING else ""
            values |= {"state": "queued", "stage": stage, "fraction": 0.0, "message": message}
        else:
            message = (
                f"Its process {how}, {times} times at the same place; most often the memory is "
                f"full. Make room, then try again: cytoloop runs retry {run.id}"
            )
            values |= {"state": "failed", "message": message, "finished_at": now()}
        same = (
            runs.c.id == run.id,
            runs.c.started_at == run.started_at,
            runs.c.cut_offs == run.cut_offs,
            runs.c.state.in_(ACTIVE),
        )
        return self._change(update(runs).where(*same).values(values)) and times < MOST_CUT_OFFS

    def stopped(self, id: int) -> bool:
        """Make a run wait again whose worker was told to stop; this is no death.

        Returns
        -------
        False if it no longer runs.
        """
        message = "It was stopped with its worker; it goes on from its last checkpoint."
        values: dict[str, Any] = {"state": "queued", "fraction": 0.0, "message": message}
        running = (runs.c.id == id, runs.c.state == "running")
        # Its candidate, if being promoted, may be champion by now: no cancelling any more.
        kept = case((runs.c.stage == PROMOTING, runs.c.stage), else_="")
        return self._change(update(runs).where(*running).values(**values, stage=kept))

    def progress(self, id: int, **fields: Any) -> bool:
        """Record what a run does: stage, fraction, message, its numbers, candidate, champion.

        Returns
        -------
        False if the run no longer runs, such as after it was cancelled.
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
        """End a run; only the first call to end it counts.

        Returns
        -------
        False if it had already ended.
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

    def cancel(self, id: int, message: str = "It was cancelled.") -> bool:
        """End a waiting or running run; its process stops at its next progress report.

        Returns
        -------
        False if it has ended or is being promoted.
        """
        open_still = (runs.c.state.in_(ACTIVE), runs.c.stage != PROMOTING)
        ended = {"state": "cancelled", "message": message, "finished_at": now()}
        return self._change(update(runs).where(runs.c.id == id, *open_still).values(ended))

    def milestones_done(self, project: int) -> set[int]:
        """Return the numbers of corrected images at which runs were opened or that runs cover."""
        query = select(runs.c.milestone, runs.c.corrected).where(runs.c.project == project)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return {number for row in rows for number in row if number is not None}

    def learned_from_more(self, run: Run) -> Run | None:
        """Return a later run of the project that was judged after learning from more images.

        Later means begun after this one; a run that never began has none.
        """
        if run.started_at is None:
            return None
        through = (runs.c.project == run.project, runs.c.state.in_(("promoted", "refused")))
        more = (runs.c.corrected > (run.corrected or 0), runs.c.started_at > run.started_at)
        query = select(runs).where(*through, *more)
        found = self._read(query.order_by(runs.c.corrected.desc()).limit(1))
        return found[0] if found else None

    def judged(self, candidate: str, champion: str) -> Run | None:
        """Return the newest run that promoted a candidate, or refused it beside a champion.

        Beside another champion the candidate may be the better one.
        """
        refused = (runs.c.state == "refused") & (runs.c.champion == champion)
        through = (runs.c.candidate == candidate, (runs.c.state == "promoted") | refused)
        found = self._read(select(runs).where(*through).order_by(runs.c.id.desc()).limit(1))
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
        return [_run(row) for row in rows]


def _run(row: RowMapping) -> Run:
    decision, notes = _decision(row["decision"]), tuple(row["notes"])
    return Run(**{**row, "decision": decision, "notes": notes})


def _decision(values: dict[str, Any] | None) -> GateDecision | None:
    return GateDecision.from_json(values) if values else None
