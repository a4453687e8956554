"""Replays in a running loop: Label Studio's API, webhook, worker and push, in this home."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from backend.errors import BadRequest, LabelStudioError, NotFound
from backend.labelstudio.client import is_labelled
from backend.labelstudio.results import Region
from backend.labelstudio.task_data import TaskData
from backend.learning.triggers import lack_boxes
from backend.milestones import next_milestone
from backend.replay.playing import Opened, Play, learned_from
from backend.services import Services
from backend.store.projects import Project

#: How long to wait for what normally takes no time: an event, a push, a prediction.
SOON_S = 300.0
EVERY_S = 0.5


class LiveDesk:
    """An annotator's desk at a running installation; everything goes through Label Studio.

    Parameters
    ----------
    services
        Of the installation's home; the store is only read, to see that a run has ended.
    lag
        The most images corrected before waiting for a run.

    Raises
    ------
    BadRequest
        Tasks of the project are watched.
    """

    form = "over HTTP"

    def __init__(self, services: Services, project: Project, lag: int = 0) -> None:
        if project.blind or services.settings.watch_share:
            raise _watched(f"Some tasks of project {project.id} open")
        self.project = project
        self._services = services
        self._studio = services.label_studio
        self._lag = lag

    def chosen(self, how: Play) -> dict[str, object]:
        """Return, by name, all choices that affect the rows (``Play.chosen``)."""
        project, registry = self.project, self._services.registry
        its_own = {"milestones": project.milestones, "default_class": project.default_class}
        settings = self._services.settings.model_copy(update=its_own)
        shown: dict[str, object] = {"least_work": project.least_work}
        # A version that has learned the cells' size is given none.
        if (champion := registry.champion(str(project.id))).finds_scale:
            policy = registry.policy(str(project.id), champion)
            shown["cell_diameter_px"] = policy.cell_diameter_px
        return how.chosen(self.form, settings, project=project.id, lag=self._lag, **shown)

    def tasks(self) -> Mapping[str, tuple[int, bool]]:
        """Return, by sha256, each image's task and whether it was already submitted.

        Of a multi-page file it is the first page, of an image in several tasks the first task.
        """
        found: dict[str, tuple[int, bool]] = {}
        for task in self._studio.tasks(self.project.id):
            data = TaskData.of(task)
            if data.sha256 and data.page == 0:
                found.setdefault(data.sha256, (int(task["id"]), is_labelled(task)))
        return found

    def open(self, task: int) -> Opened:
        """Ask for a task as the page does: Label Studio calls /predict if it has no boxes.

        Raises
        ------
        BadRequest
            The task is watched, as the running installation may have chosen.
        NotFound
            The task has no boxes.
        """
        shown = self._studio.task(task)["predictions"]
        if not shown:
            raise NotFound(f"Label Studio has no boxes for task {task}; is Cytoloop connected?")
        kept = self._services.predictions.last_shown(self.project.id, task)
        if kept is not None and kept.watch is not None:
            raise _watched(f"Task {task} opens")
        newest = max(shown, key=lambda prediction: int(prediction["id"]))
        served = str(newest["model_version"])
        learned = learned_from(self._services, self.project.id, served)
        return Opened(tuple(newest["result"]), served, learned, int(newest["id"]))

    def submit(self, task: int, regions: Sequence[Region], seconds: float, opened: Opened) -> None:
        """Submit an annotation as the page does."""
        self._studio.create_annotation(task, regions, seconds, opened.prediction)

    def settle(self, corrected: int) -> None:
        """Wait for each run that was due ``lag`` images ago, and for its boxes."""
        project, step = self.project, self._services.settings.milestone_step
        before = corrected - self._lag
        milestone = next_milestone(before, project.milestones, step, ())
        if milestone == before:
            _wait_for(lambda: self.has_ended(milestone), math.inf)
            # However it ended: even a refused run may have chosen other boxes of the champion.
            _wait_for(lambda: not lack_boxes(self._services, project.id), SOON_S)

    def has_ended(self, milestone: int) -> bool:
        """Tell whether a run has ended that does a milestone's work, or a later milestone's."""
        runs = self._services.runs.all(self.project.id)
        reaching = [run for run in runs if max(run.milestone, run.corrected or 0) >= milestone]
        return bool(reaching) and not any(run.is_active for run in reaching)


def _watched(what: str) -> BadRequest:
    return BadRequest(
        f"{what} blind or with a planted fault, which says nothing of what the boxes cost: play in "
        "a project with `cytoloop project --with-boxes` and CYTOLOOP_WATCH_SHARE=0."
    )


def _wait_for(what: Callable[[], bool], within_s: float) -> None:
    until = time.monotonic() + within_s
    while not what():
        if time.monotonic() > until:
            raise LabelStudioError(
                f"Label Studio does not show the new boxes after {within_s:.0f} s; see what the "
                "worker says in logs/, then run the replay again: it goes on."
            )
        time.sleep(EVERY_S)
