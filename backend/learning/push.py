"""Giving a new champion's boxes to the tasks that nobody has labelled yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import structlog

from backend.errors import BadRequest, LabelStudioError, LabelStudioMissing, NotFound
from backend.labelstudio.client import is_labelled
from backend.labelstudio.interface import LabellingInterface
from backend.learning.triggers import can_begin
from backend.services import Services
from backend.serving.predictor import Predictor
from backend.serving.slot import Slot
from backend.serving.task_images import read_task_image
from model.judging.policy import version_of
from preprocessing.errors import PreprocessingError

log = structlog.get_logger(__name__)

#: Loading the champion is the first thing this job does; there is nobody to answer meanwhile.
LOAD_S = 600.0
#: So long a page may be open, as over a weekend, and is to be submitted all the same.
OPEN_AT_MOST = timedelta(days=3)
#: One task may be refused for itself; so many in a row mean that none is taken.
REFUSED_IN_A_ROW = 8

Task = Mapping[str, Any]


def push(services: Services, project: int, version_id: str) -> int:
    """Store predictions for the unlabelled tasks, then make Label Studio show them.

    The most useful come first. It is dropped as soon as another version or policy serves, whose
    push follows, and gives way to a run that waits, after which it goes on: what is stored stays.
    A task that has these boxes, such as since it was opened, is left alone, so that pushing twice
    stores nothing twice.

    Returns
    -------
    How many predictions were stored.

    Raises
    ------
    LabelStudioError
        When Label Studio cannot be reached, or takes none of many tasks in a row.
    """
    with closing(Slot(services.registry, services.settings.device)) as slot:
        served_name = slot.current(str(project), wait_s=LOAD_S).name
        pushing = _Push(services, project, Predictor(services, slot, LOAD_S), served_name)
        listed = services.label_studio.unlabelled_tasks(project, pushing.note_unlisted)
        for task in most_useful_first(listed, served_name):
            if reason := _reason_to_stop(services, project, version_id, served_name):
                log.info("push.stopped", project=project, reason=reason, pushed=pushing.stored)
                return pushing.stored
            pushing.push(task)
    pushing.end()
    if not _superseded(services, project, served_name):
        _show(services, project, served_name, pushing.stored)
        if pushing.complete:  # else the poll pushes the rest
            services.projects.set_pushed(project, served_name)
    log.info("push.done", project=project, version=version_id, pushed=pushing.stored)
    return pushing.stored


def most_useful_first(tasks: Iterable[Task], served_name: str) -> list[dict[str, Any]]:
    """Return the tasks that lack a version's boxes, in the order in which they should get them.

    First those whose present boxes will be corrected most, as the scores of their predictions say
    (``Policy.certainty``). Those without any come last: they are predicted when they are opened,
    whereas old boxes stay.

    Parameters
    ----------
    tasks
        As Label Studio lists them, with their predictions.
    served_name
        Name of version and policy.
    """
    lacking = [
        (_certainty(task), {"id": task["id"], "data": task.get("data")})
        for task in tasks
        if served_name not in _names(task)
    ]
    lacking.sort(key=lambda one: one[0])
    return [task for _, task in lacking]


def _certainty(task: Task) -> float:
    """Return the score of the prediction that a task shows, of 1 at the most; 2 without any."""
    shown = max(task.get("predictions") or (), key=lambda one: one.get("id", 0), default=None)
    if shown is None:
        return 2.0
    score = shown.get("score")
    return 1.0 if score is None else float(score)


class _Push:
    """One task after another; a task that was deleted meanwhile does not hold up the others."""

    def __init__(
        self, services: Services, project: int, predictor: Predictor, served_name: str
    ) -> None:
        self.stored = 0
        #: Whether every task was listed, and none refused or left without an answer that it may
        #: have another time.
        self.complete = True
        self._services = services
        self._label_studio = services.label_studio
        self._project = project
        self._predictor = predictor
        self._served_name = served_name
        self._refused: list[LabelStudioError] = []

    def note_unlisted(self, error: LabelStudioError) -> None:
        """Note that a task is not listed, which so gets nothing."""
        log.warning("push.task_unlisted", reason=str(error))
        self.complete = False

    def push(self, task: Task) -> None:
        """Store a task's prediction, unless it has one by now or was labelled."""
        try:
            self.stored += self._store(task)
        except LabelStudioMissing as error:  # deleted meanwhile: there is nothing to be refused
            log.info("push.task_gone", task=task["id"], reason=str(error))
        except LabelStudioError as error:
            log.warning("push.refused", task=task["id"], reason=str(error))
            self.complete = False
            self._refused.append(error)
            if len(self._refused) >= REFUSED_IN_A_ROW:
                raise
        else:
            self._refused.clear()

    def end(self) -> None:
        """Raise what was refused where nothing was taken at all."""
        if self._refused and not self.stored:
            raise self._refused[-1]

    def _store(self, task: Task) -> bool:
        # Opened, one without boxes would get them from the web process, which has pages to answer.
        now = self._label_studio.listed_task(self._project, task["id"])
        if self._served_name in _names(now) or is_labelled(now):
            return False
        # Asked anew for each task: it may be changed during the push.
        label_config = self._services.projects.get(self._project).label_config
        (answer,) = self._predictor.predict(self._project, [task], label_config)
        if not isinstance(answer, dict):
            self.complete &= self._has_no_image(task, label_config)
            return False
        self._label_studio.create_prediction(
            task["id"], answer["result"], answer["score"], answer["model_version"]
        )
        self._take_back_outdated(now)
        return True

    def _take_back_outdated(self, task: Task) -> None:
        """Take back what earlier versions found and no open page can show any more.

        Else each version would leave as much in Label Studio as all tasks hold. A page that was
        opened with it is not taken by Label Studio once it is gone, so that it stays for
        ``OPEN_AT_MOST`` after another took its place; the last stays in any case, since it is shown
        until the push ends. The store keeps all of it, and what others predicted stays.
        """
        ours = self._services.predictions.served_names(self._project, task["id"])
        shown = [one for one in task.get("predictions") or () if one.get("model_version") in ours]
        for one, after in pairwise(sorted(shown, key=lambda one: int(one["id"]))):
            if _age(after) > OPEN_AT_MOST:
                with suppress(LabelStudioMissing):
                    self._label_studio.delete_prediction(one["id"])

    def _has_no_image(self, task: Task, label_config: str) -> bool:
        """Return whether a task that got no answer will never get one: its image is none, or gone.

        An image that cannot be fetched now says nothing of whether tasks are taken: it may lie in a
        storage of its own.
        """
        data_key = LabellingInterface.parse(label_config).data_key
        try:
            with suppress(OSError):  # such as of a disk that is full
                read_task_image(self._services, self._project, task, data_key)
        except (PreprocessingError, BadRequest, NotFound, LabelStudioMissing):
            return True
        except LabelStudioError as error:
            log.warning("push.no_image", task=task["id"], reason=str(error))
        return False  # there was no memory, or no time


def _names(task: Task) -> set[str | None]:
    return {one.get("model_version") for one in task.get("predictions") or ()}


def _age(prediction: Mapping[str, Any]) -> timedelta:
    """Return how long a prediction has been there; none where Label Studio does not say."""
    made = prediction.get("created_at")
    return datetime.now(UTC) - datetime.fromisoformat(made) if made else timedelta()


def _reason_to_stop(services: Services, project: int, version_id: str, served_name: str) -> str:
    if version_of(served_name) != version_id or _superseded(services, project, served_name):
        return "another version or policy serves"
    if can_begin(services):
        return "a run waits"
    return ""


def _show(services: Services, project: int, served_name: str, pushed: int) -> None:
    """Make Label Studio show this version's boxes; it refuses a name that no prediction has."""
    try:
        services.label_studio.patch_project(project, model_version=served_name)
    except LabelStudioError as error:
        if pushed:
            raise
        log.info("push.nothing_to_show", project=project, reason=str(error))


def _superseded(services: Services, project: int, served_name: str) -> bool:
    return services.registry.served_name(str(project)) != served_name
