"""Gives a new champion's boxes to the tasks that nobody has labelled yet."""

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

#: How long this job waits for the champion to load: nobody waits for an answer.
LOAD_S = 600.0
#: A page may stay open this long, as over a weekend, and must still be accepted.
OPEN_AT_MOST = timedelta(days=3)
#: Label Studio may refuse a single task; this many in a row mean that it takes none.
REFUSED_IN_A_ROW = 8

Task = Mapping[str, Any]


def push(services: Services, project: int, version_id: str) -> int:
    """Store predictions for the unlabelled tasks, then make Label Studio show them.

    The most useful come first. A push ends as soon as another version or policy serves, whose own
    push follows. It gives way to a waiting run and goes on after it. What is stored stays. A task
    that has these boxes already, for example since it was opened, is left alone, so pushing twice
    stores nothing twice.

    Returns
    -------
    The number of stored predictions.

    Raises
    ------
    LabelStudioError
        Label Studio cannot be reached, or refuses many tasks in a row.
    """
    with closing(Slot(services.registry, services.settings.device)) as slot:
        served_name = slot.current(str(project), wait_s=LOAD_S).name
        pushing = _Push(services, project, Predictor(services, slot, LOAD_S), served_name)
        listed = services.label_studio.unlabelled_tasks(project, pushing.note_unlisted)
        is_first = services.projects.get(project).pushed is None
        for task in most_useful_first(listed, served_name, is_first):
            if reason := _reason_to_stop(services, project, version_id, served_name):
                log.info("push.stopped", project=project, reason=reason, pushed=pushing.stored)
                return pushing.stored
            pushing.push(task)
    pushing.end()
    if not _superseded(services, project, served_name):
        _show(services, project, served_name, pushing.stored)
        if pushing.complete:  # otherwise the poll pushes the rest
            services.projects.set_pushed(project, served_name)
    log.info("push.done", project=project, version=version_id, pushed=pushing.stored)
    return pushing.stored


def most_useful_first(
    tasks: Iterable[Task], served_name: str, is_first: bool
) -> list[dict[str, Any]]:
    """Return the tasks that lack a version's boxes, in the order in which to give them.

    Tasks whose present boxes will be corrected most come first, by the scores of their predictions
    (``Policy.certainty``). Tasks without boxes come last in a project's first push: they are
    predicted when they come up, but old boxes would stay. Later they come first of all: Label
    Studio shows them empty.

    Parameters
    ----------
    tasks
        As Label Studio lists them, with their predictions.
    served_name
        Name of version and policy.
    is_first
        Whether nothing was pushed before.
    """
    without_boxes = 2.0 if is_first else -1.0
    lacking = [
        (_certainty(task, without_boxes), {"id": task["id"], "data": task.get("data")})
        for task in tasks
        if served_name not in _names(task)
    ]
    lacking.sort(key=lambda one: one[0])
    return [task for _, task in lacking]


def _certainty(task: Task, without_boxes: float) -> float:
    """Return the score, in [0, 1], of the prediction that a task shows."""
    shown = max(task.get("predictions") or (), key=lambda one: one.get("id", 0), default=None)
    if shown is None:
        return without_boxes
    score = shown.get("score")
    return 1.0 if score is None else float(score)


class _Push:
    """Pushes one task after another; a task deleted meanwhile does not hold up the others."""

    def __init__(
        self, services: Services, project: int, predictor: Predictor, served_name: str
    ) -> None:
        self.stored = 0
        #: Whether every task was listed, none was refused, and none lacks an answer that it may get
        #: another time.
        self.complete = True
        self._services = services
        self._label_studio = services.label_studio
        self._project = project
        self._predictor = predictor
        self._served_name = served_name
        self._refused: list[LabelStudioError] = []

    def note_unlisted(self, error: LabelStudioError) -> None:
        """Note that a task is not listed and so gets nothing."""
        log.warning("push.task_unlisted", reason=str(error))
        self.complete = False

    def push(self, task: Task) -> None:
        """Store a task's prediction, unless it has one by now or was labelled."""
        try:
            self.stored += self._store(task)
        except LabelStudioMissing as error:  # deleted meanwhile: this is no refusal
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
        """Raise the last refusal if nothing was stored at all."""
        if self._refused and not self.stored:
            raise self._refused[-1]

    def _store(self, task: Task) -> bool:
        # Listed, not opened: for a task without boxes, opening asks the web process, which is busy
        # with pages.
        now = self._label_studio.listed_task(self._project, task["id"])
        if self._served_name in _names(now) or is_labelled(now):
            return False
        # Read anew for each task: it may change during the push.
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
        """Delete earlier versions' predictions that no open page can still show.

        Otherwise each version would leave predictions for all tasks in Label Studio. Label Studio
        refuses a page whose prediction is gone, so a prediction stays for ``OPEN_AT_MOST`` after
        another took its place. The last one always stays, since it is shown until the push ends.
        The store keeps all of them, and predictions by others stay.
        """
        ours = self._services.predictions.served_names(self._project, task["id"])
        shown = [one for one in task.get("predictions") or () if one.get("model_version") in ours]
        for one, after in pairwise(sorted(shown, key=lambda one: int(one["id"]))):
            if _age(after) > OPEN_AT_MOST:
                with suppress(LabelStudioMissing):
                    self._label_studio.delete_prediction(one["id"])

    def _has_no_image(self, task: Task, label_config: str) -> bool:
        """Return whether a task without an answer will never get one: its image is none, or gone.

        An image that cannot be fetched now does not mean that Label Studio takes no tasks: it may
        be in another storage.
        """
        data_key = LabellingInterface.parse(label_config).data_key
        try:
            with suppress(OSError):  # such as a full disk
                read_task_image(self._services, self._project, task, data_key)
        except (PreprocessingError, BadRequest, NotFound, LabelStudioMissing):
            return True
        except LabelStudioError as error:
            log.warning("push.no_image", task=task["id"], reason=str(error))
        return False  # memory or time ran out


def _names(task: Task) -> set[str | None]:
    return {one.get("model_version") for one in task.get("predictions") or ()}


def _age(prediction: Mapping[str, Any]) -> timedelta:
    """Return the age of a prediction; zero if Label Studio does not say."""
    made = prediction.get("created_at")
    return datetime.now(UTC) - datetime.fromisoformat(made) if made else timedelta()


def _reason_to_stop(services: Services, project: int, version_id: str, served_name: str) -> str:
    if version_of(served_name) != version_id or _superseded(services, project, served_name):
        return "another version or policy serves"
    if can_begin(services):
        return "a run waits"
    return ""


def _show(services: Services, project: int, served_name: str, pushed: int) -> None:
    """Make Label Studio show this version's boxes; it refuses a name without predictions."""
    try:
        services.label_studio.patch_project(project, model_version=served_name)
    except LabelStudioError as error:
        if pushed:
            raise
        log.info("push.nothing_to_show", project=project, reason=str(error))


def _superseded(services: Services, project: int, served_name: str) -> bool:
    return services.registry.served_name(str(project)) != served_name
