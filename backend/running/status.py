"""How the loop stands: what runs, what was corrected, what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import requests

from backend.milestones import upcoming_milestones
from backend.queue import without_password
from backend.running.http import answers
from backend.running.ours import has_worker, web_address
from backend.running.redis import pings
from backend.services import Services
from backend.store.projects import Project

#: How long the web process may take to report on one project.
PATIENCE_S = 10.0


@dataclass(frozen=True)
class ServiceStatus:
    """Whether a service answers, and where; for the worker, which has no address, its state."""

    name: str
    where: str
    answers: bool


@dataclass(frozen=True)
class ProjectStatus:
    """One project: its champion, what was corrected, when it learns next, and its runs.

    Parameters
    ----------
    champion
        Empty if it cannot be read.
    problem
        What the web process finds wrong with it, as on the dashboard; empty if nothing, or if the
        process is away.
    """

    id: int
    title: str
    champion: str
    problem: str
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
    web, redis = web_address(settings), pings(settings.redis_address)
    is_up = answers(f"{web}/health")
    found = (
        ServiceStatus("Redis", without_password(settings.redis_address), redis),
        ServiceStatus("Label Studio", studio, answers(f"{studio}/health")),
        ServiceStatus("Cytoloop", web, is_up),
        _worker(services, redis),
    )
    projects = services.projects.all()
    problems = _problems(services, web, projects) if is_up else [""] * len(projects)
    return Status(found, tuple(map(partial(_project, services), projects, problems)))


def _worker(services: Services, redis: bool) -> ServiceStatus:
    if not redis:
        return ServiceStatus("Worker", "unknown, since Redis does not answer", False)
    lives = has_worker(services.settings.redis_address, services.credentials.home_id)
    words = "alive" if lives else "none: corrections are kept, but nothing learns"
    return ServiceStatus("Worker", words, lives)


def _problems(services: Services, web: str, projects: Sequence[Project]) -> list[str]:
    """Ask the web process: only it knows what it found, and which versions it could not load.

    A project on which it cannot report hides no other; once it was too slow, it is asked no more.
    """
    found, too_slow = list[str](), ""
    for project in projects:
        try:
            found.append(too_slow or _problem(services, web, project.id))
        except requests.RequestException as error:
            found.append(f"cannot be told: {error}")
            if isinstance(error, requests.Timeout):
                too_slow = found[-1]
    return found


def _problem(services: Services, web: str, project: int) -> str:
    login = (services.settings.backend_user, services.credentials.backend_password)
    answer = requests.get(f"{web}/job_status", {"project": project}, auth=login, timeout=PATIENCE_S)
    answer.raise_for_status()
    return str(answer.json()["projects"][0]["problem"])


def _project(services: Services, project: Project, problem: str) -> ProjectStatus:
    corrected = services.annotations.corrected_count(project.id)
    step, done = services.settings.milestone_step, services.runs.milestones_done(project.id)
    return ProjectStatus(
        id=project.id,
        title=project.title,
        champion=services.champion_now(project.id),
        problem=problem,
        corrected=corrected,
        next_milestone=next(upcoming_milestones(corrected, project.milestones, step, done), None),
        runs=tuple(run.to_json() for run in services.runs.all(project.id)),
    )
