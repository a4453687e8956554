"""How a project stands, for the dashboard and /job_status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backend.http.parts import Parts
from backend.labelstudio.client import project_page
from backend.milestones import upcoming_milestones, way_to
from backend.store.projects import Project
from backend.store.runs import Run
from model.errors import BrokenVersion
from model.versions import ModelVersion
from model.wording import LIMIT_REACHED, counted

DECISIONS_SHOWN = 5


@dataclass(frozen=True)
class ProjectOverview:
    """One project at one moment.

    Parameters
    ----------
    link
        Its page in Label Studio.
    served_name
        Name of the version and policy that answer now.
    champion
        The version that should serve; None if its description cannot be read.
    has_learned
        Whether a run of the project ever trained a version.
    problem
        Why the champion does not serve, the label_config cannot be used or corrected images do not
        count; empty if all is well.
    next_milestone
        Number of corrected images at which the next run starts; None if there is none.
    progress
        Share of the way from the milestone before to that one, in [0, 1].
    active
        The run that runs or waits.
    ended
        The runs that ended last, newest first, without covered ones.
    capped
        The number of uncorrected images in which the serving version reached a limit on the number
        of boxes.
    exportable
        Which boxes can be exported: ``corrected``, ``predicted``.
    """

    project: Project
    link: str
    served_name: str
    champion: ModelVersion | None
    has_learned: bool
    problem: str
    images: int
    corrected: int
    next_milestone: int | None
    progress: float
    active: Run | None
    ended: tuple[Run, ...]
    capped: int
    exportable: tuple[str, ...]

    @property
    def of_seen(self) -> str:
        """Out of how many images, in words; of an attached project not all were seen yet."""
        seen = counted(self.images, "image")
        return f"of {seen} seen so far" if self.images else ""

    @property
    def shown(self) -> list[str]:
        """What the page shows and cannot update itself: it reloads if this changes."""
        last = str(self.ended[0].id) if self.ended else ""
        return [last, self.served_name, self.problem, *self.exportable]

    def to_json(self) -> dict[str, Any]:
        return {
            "project": self.project.id,
            "title": self.project.title,
            "served": self.served_name,
            "problem": self.problem,
            "images": self.images,
            "corrected": self.corrected,
            "of_seen": self.of_seen,
            "next_milestone": self.next_milestone,
            "progress": round(self.progress, 4),
            "run": self.active.to_json() if self.active else None,
            "last": self.ended[0].to_json() if self.ended else None,
            "shown": self.shown,
        }


def overview_of(parts: Parts, project: Project) -> ProjectOverview:
    """Read how a project stands now."""
    services, key = parts.services, str(project.id)
    served_name = parts.slot.peek(key)
    corrected = services.annotations.corrected_count(project.id)
    step, done = services.settings.milestone_step, services.runs.milestones_done(project.id)
    upcoming = next(upcoming_milestones(corrected, project.milestones, step, done), None)
    boxes = {"corrected": corrected, "predicted": services.predictions.has_any(project.id)}
    return ProjectOverview(
        project=project,
        link=project_page(services.label_studio_for_browsers, project.id),
        served_name=served_name,
        champion=_champion(parts, key),
        has_learned=services.runs.has_learned(project.id),
        problem=_problem(parts, project, served_name),
        images=services.images.number_with_task(project.id),
        corrected=corrected,
        next_milestone=upcoming,
        progress=way_to(upcoming, corrected, project.milestones, step),
        active=services.runs.active(project.id),
        ended=tuple(services.runs.ended(project.id, DECISIONS_SHOWN)),
        capped=services.predictions.count_flagged(project.id, served_name, LIMIT_REACHED),
        exportable=tuple(which for which, there in boxes.items() if there),
    )


def _problem(parts: Parts, project: Project, served_name: str) -> str:
    found = [parts.problems.of(project.id)]
    if unloaded := parts.slot.problem(str(project.id)):
        found.insert(0, f"The champion could not be loaded, so {served_name} serves: {unloaded}")
    return " ".join(filter(None, found))


def _champion(parts: Parts, project: str) -> ModelVersion | None:
    try:
        return parts.services.registry.champion(project)
    except BrokenVersion:
        return None  # the slot's problem says why
