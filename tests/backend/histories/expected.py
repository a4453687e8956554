"""What the store should contain: the rules of ARCHITECTURE.md, written down a second time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from backend.services import Services
from backend.store.tables import annotations, images, tasks
from tests.backend.histories.studio import BAD_CONFIG, Truth

MILESTONES, STEP = (3, 5, 7), 3
#: Number of kills after which a run may be given up.
MOST_KILLS = 5

Key = tuple[int, int]


@dataclass(frozen=True)
class Correction:
    """An annotation at one moment; its time is None once it was deleted."""

    updated_at: datetime | None
    task: int | None
    skipped: bool


DELETED = Correction(None, None, False)


@dataclass(frozen=True)
class Stage:
    """How a run stands."""

    trigger: str
    state: str
    corrected: int | None = None

    @property
    def is_active(self) -> bool:
        return self.state in ("queued", "running")


@dataclass
class Expected:
    """One project; runs are identified by milestone and attempt."""

    label_config: str
    champion: str
    gone: bool = False
    annotations: dict[int, Correction] = field(default_factory=dict)
    #: The tasks whose image is known.
    images: dict[int, str] = field(default_factory=dict)
    runs: dict[Key, Stage] = field(default_factory=dict)

    @property
    def corrected(self) -> int:
        counting = {a.task for a in self.annotations.values() if a.task and not a.skipped}
        return len({self.images[task] for task in counting & self.images.keys()})

    @property
    def due(self) -> int | None:
        """The milestone that should be opened now."""
        reached = max((m for m in _milestones(self.corrected)), default=None)
        done = [n for (m, _), run in self.runs.items() for n in (m, run.corrected) if n is not None]
        return None if reached is None or reached <= max(done, default=-1) else reached

    def copy(self) -> Expected:
        return replace(
            self,
            annotations=dict(self.annotations),
            images=dict(self.images),
            runs=dict(self.runs),
        )

    def record(self, sent: Mapping[str, Any]) -> None:
        told = correction_of(sent)
        known = self.annotations.get(sent["id"])
        if known is None or (known != DELETED and known.updated_at < told.updated_at):  # type: ignore[operator]
            self.annotations[sent["id"]] = told

    def delete(self, ids: Iterable[int]) -> None:
        self.annotations |= dict.fromkeys(ids, DELETED)

    def open_due(self) -> None:
        if (milestone := self.due) is not None:
            self.runs.setdefault((milestone, 1), Stage("milestone", "queued"))

    def open_attempt(self, milestone: int) -> None:
        attempt = max((a for m, a in self.runs if m == milestone), default=0) + 1
        self.runs[milestone, attempt] = Stage("button", "queued")

    def compare(self, truth: Truth) -> bool:
        """Follow what Label Studio has, and return whether that is possible."""
        self.gone = truth.gone
        if truth.gone:
            return False
        if truth.label_config != BAD_CONFIG:
            self.label_config = truth.label_config
        for annotation in truth.annotations():
            self.record(annotation)
        self.delete(self.annotations.keys() - {a["id"] for a in truth.annotations()})
        corrected = {a["task"] for a in truth.annotations() if not a["was_cancelled"]}
        self.images |= {task: truth.image_of(task) for task in corrected}
        return True

    def freeze(self, key: Key) -> None:
        """Let a running run begin with the present corrections; milestones that it reaches end."""
        corrected = self.corrected
        for (milestone, attempt), run in self.runs.items():
            if run.state == "queued" and run.trigger == "milestone" and milestone <= corrected:
                self.runs[milestone, attempt] = replace(run, state="covered")
        self.runs[key] = replace(self.runs[key], state="running", corrected=corrected)

    def end(self, key: Key, state: str) -> None:
        self.runs[key] = replace(self.runs[key], state=state)

    @property
    def has_active(self) -> bool:
        return any(run.is_active for run in self.runs.values())


def correction_of(sent: Mapping[str, Any]) -> Correction:
    at = datetime.fromisoformat(sent["updated_at"])
    return Correction(at, sent["task"], sent["was_cancelled"])


def observed(services: Services, project: int) -> Expected:
    """Read what the store and the registry really contain."""
    known = services.projects.get(project)
    champion = services.registry.champion(str(project)).id
    found = Expected(known.label_config, champion, known.gone)
    with services.engine.connect() as connection:
        rows = connection.execute(select(annotations).where(annotations.c.project == project)).all()
        shown = select(tasks.c.task, images.c.name).join(images, images.c.id == tasks.c.image)
        found.images = dict(connection.execute(shown.where(tasks.c.project == project)).all())
    for row in rows:
        living = Correction(row.updated_at, row.task, row.was_cancelled)
        found.annotations[row.id] = DELETED if row.deleted else living
    for run in services.runs.all(project):
        found.runs[run.milestone, run.attempt] = Stage(run.trigger, run.state, run.corrected)
    return found


def differences(found: Expected, allowed: list[Expected]) -> Iterator[str]:
    """Yield each thing, taken by itself, that is as in none of the allowed states."""
    for name in ("label_config", "champion", "gone"):
        values = [getattr(one, name) for one in allowed]
        if getattr(found, name) not in values:
            yield f"{name} is {getattr(found, name)!r}, not {values}"
    for name in ("annotations", "runs"):
        things = [getattr(one, name) for one in (found, *allowed)]
        for key in sorted(set().union(*things)):
            is_now, *others = (thing.get(key) for thing in things)
            if is_now not in others:
                yield f"{name[:-1]} {key} is {is_now}, not {others}"


def _milestones(corrected: int) -> Iterator[int]:
    yield from (m for m in MILESTONES if m <= corrected)
    yield from range(MILESTONES[-1] + STEP, corrected + 1, STEP)
