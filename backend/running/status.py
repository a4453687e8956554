"""How the loop stands: what runs, what was corrected, what was learned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from backend.milestones import upcoming_milestones
from backend.queue import without_password
from backend.running.http import answers
from backend.running.ours import has_worker, web_address
from backend.running.redis import pings
from backend.services import Services
from backend.store.projects import Project


@dataclass(frozen=True)
class ServiceStatus:
    """Whether one service answers, and where."""

    name: str
    where: str
    answers: bool


@dataclass(frozen=True)
class ProjectStatus:
    """One project: its champion, what was corrected, when it learns next, and its runs.

    Parameters
    ----------
    champion
        Empty where it cannot be told.
    """

    id: int
    title: str
    champion: str
    corrected: int
    next_milestone: int | None
    runs: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Status:
    """The whole installation."""

    services: tuple[ServiceStatus, ...]
    projects: tuple[ProjectStatus, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def status_of(services: Services) -> Status:
    """Look at every service and project; a service that is away is reported, not raised."""
    settings, studio = services.settings, services.label_studio.url
    web, home_id = web_address(settings), services.credentials.home_id
    redis = pings(settings.redis_address)
    found = (
        ServiceStatus("Redis", without_password(settings.redis_address), redis),
        ServiceStatus("Label Studio", studio, answers(f"{studio}/health")),
        ServiceStatus("Cytoloop", web, answers(f"{web}/health")),
        ServiceStatus("Worker", "", redis and has_worker(settings.redis_address, home_id)),
    )
    return Status(found, tuple(_project(services, p) for p in services.projects.all()))


def _project(services: Services, project: Project) -> ProjectStatus:
    corrected = services.annotations.corrected_count(project.id)
    return ProjectStatus(
        id=project.id,
        title=project.title,
        champion=services.champion_now(project.id),
        corrected=corrected,
        next_milestone=next(upcoming_milestones(services, project, corrected), None),
        runs=tuple(run.to_json() for run in services.runs.all(project.id)),
    )
