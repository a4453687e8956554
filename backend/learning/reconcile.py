"""Making good what the events lost: Label Studio's API has the truth about annotations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from backend.errors import (
    BackendError,
    BadLabelConfig,
    BadRequest,
    LabelStudioError,
    LabelStudioMissing,
    LabelStudioSilent,
)
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.client import is_labelled
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.task_data import listed_address_of
from backend.services import Services
from backend.serving.task_images import is_elsewhere, stored_task_image
from backend.store.annotations import Held
from model.wording import counted
from preprocessing.errors import PreprocessingError

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reconciled:
    """What the store has once it is as the API says.

    Parameters
    ----------
    unreadable
        Tasks whose image or annotation could not be fetched or read, with the reason; also why the
        project's label_config cannot be used.
    kept
        Annotations of the tasks that were looked at which the store has as well now, and of those
        that were not answered for.
    made
        When each of these tasks was made, so far as Label Studio says it.
    unanswered
        Tasks for which Label Studio gave no answer that can be used, or which it did not list, with
        the reason: what is known of them stays as it is, until they are asked for again.
    without_image
        What keeps the image away, by task; in ``unreadable`` too.
    tasks
        Those that were looked at.
    shown
        What served the boxes of each of these that is open; nothing where it has none.
    """

    unreadable: tuple[str, ...]
    kept: int
    made: tuple[datetime, ...]
    unanswered: tuple[str, ...]
    without_image: Mapping[int, str]
    tasks: Set[int]
    shown: Mapping[int, Set[str]]


def reconcile(services: Services, project: int) -> Reconciled:
    """Record every annotation that Label Studio has now, and forget those it has no more.

    Of a Label Studio that was put back from a copy these are older than what is known, or were
    forgotten here. So with its tasks, its title and its label_config. The images of corrected tasks
    that Cytoloop did not import itself are fetched and kept; so are those of open tasks that were
    shown boxes and then forgotten. Open tasks that lost the boxes that were pushed, and show those
    of before, are to get them again.

    Raises
    ------
    LabelStudioMissing
        When the project was deleted there, which is kept.
    LabelStudioError
        When Label Studio cannot be reached, or does not list the tasks; what was recorded until
        then stays.
    """
    _, problem = follow(services, project)
    # Only what was known before the first page was asked for may be gone, or put back: a newer
    # annotation or task may not have been on its page.
    held = services.annotations.held(project)
    pushed = services.projects.get(project).pushed
    annotations, tasks = services.annotations.known(project), services.images.known_tasks(project)
    seen = _Seen(unreadable=[problem] if problem else [])
    there = _there(services, project, tasks.union(annotations.values()), seen)
    _record(services, project, there, held, seen)
    services.images.forget_tasks(project, tasks - seen.tasks - seen.unanswered.keys())
    if pushed and _lacks_pushed(seen, pushed, services.predictions.shown_tasks(project, pushed)):
        services.projects.set_pushed(project, None)
    asked = {id for id, task in annotations.items() if task not in seen.unanswered}
    return _done(services, project, seen, asked - seen.annotations)


def reconcile_changes(services: Services, project: int, since: datetime) -> Reconciled:
    """Do the same for the tasks that changed at a moment or later; deleted tasks are not seen."""
    annotations = services.annotations.known(project)
    seen = _Seen()
    changed = services.label_studio.changed_tasks(project, since, seen.unlisted.append)
    _record(services, project, changed, {}, seen)
    of_seen = {id for id, task in annotations.items() if task in seen.tasks}
    return _done(services, project, seen, of_seen - seen.annotations)


def fetch_images(services: Services, project: int, tasks: Collection[int]) -> dict[int, str]:
    """Try again for the images of tasks, and say what keeps those away that do not come.

    Raises
    ------
    LabelStudioSilent
        Label Studio answers nothing.
    """
    data_key = _data_key(services, project)
    away = dict[int, str]()
    for id in sorted(tasks):
        try:
            task = services.label_studio.listed_task(project, id)
        except LabelStudioError as error:
            _require_answer(services, project, error)
            away[id] = str(error)
        else:
            away |= _fetch_image(services, project, task, data_key)
    return away


def follow(services: Services, project: int) -> tuple[dict[str, Any], str]:
    """Keep a project's title, label_config and number of tasks as they are now, or that it is gone.

    The runs of one that is gone end, since nobody would see them.

    Returns
    -------
    The project as Label Studio describes it, and why its label_config cannot be used.

    Raises
    ------
    LabelStudioMissing, LabelStudioError
        As ``reconcile``.
    """
    kept = services.projects.get(project)
    try:
        now = services.label_studio.project(project)
    except LabelStudioMissing as error:
        services.projects.set_gone(project, gone=True)
        for run in services.runs.unfinished(project):
            services.runs.cancel(run.id, gone_in_words(error))
        raise
    if kept.gone:
        services.projects.set_gone(project, gone=False)
    problem = follow_config(services, project, now["title"], now["label_config"])
    if kept.tasks != now["task_number"]:
        services.projects.set_tasks(project, now["task_number"])
    return now, problem


def follow_config(services: Services, project: int, title: str, label_config: str) -> str:
    """Keep a project's title and label_config as they are now; an unknown project is then known.

    Returns
    -------
    Why no boxes can be drawn with the label_config any more, so that the one of before is kept;
    empty where they can.

    Raises
    ------
    BadLabelConfig
        No boxes can be drawn with the label_config, and there is none of before to go on with.
    """
    try:
        services.projects.ensure(project, title, label_config)
    except BadLabelConfig as error:
        if project not in {known.id for known in services.projects.all(gone=True)}:
            raise
        return f"{error} Until then Cytoloop goes on with the one of before."
    return ""


def gone_in_words(error: LabelStudioMissing) -> str:
    """Return why the runs of a project end that was deleted in Label Studio."""
    return (
        f"The project is not in Label Studio any more. {error} Should it come back:"
        " `cytoloop runs retry` of this run."
    )


def name_annotators(services: Services) -> None:
    """Ask what annotators are called whose names were never asked for; events tell numbers alone.

    One whom Label Studio does not know, or who was removed from it and is called "Deleted" there,
    keeps the number for a name.

    Raises
    ------
    LabelStudioError
        When it cannot be reached, or does not say.
    """
    if unnamed := services.annotators.unnamed():
        users = services.label_studio.users()
        known = {str(user["id"]): user["email"] for user in users if "@" in user["email"]}
        services.annotators.call({number: known.get(number, number) for number in unnamed})


@dataclass
class _Seen:
    """What came by, of a project's tasks."""

    tasks: set[int] = field(default_factory=set)
    made: list[datetime] = field(default_factory=list)
    #: What served the boxes of each open task.
    shown: dict[int, set[str]] = field(default_factory=dict)
    annotations: set[int] = field(default_factory=set)
    recorded: int = 0
    unreadable: list[str] = field(default_factory=list)
    #: What Label Studio said of a task instead of an answer, and where it should have listed one.
    unanswered: dict[int, str] = field(default_factory=dict)
    unlisted: list[LabelStudioError] = field(default_factory=list)
    without_image: dict[int, str] = field(default_factory=dict)

    def note(self, task: Mapping[str, Any]) -> None:
        """Note a task, and its annotations: those too that cannot be read are there."""
        id = int(task["id"])
        self.tasks.add(id)
        if made := task.get("created_at"):
            self.made.append(datetime.fromisoformat(made))
        told = (values.get("id") for values in task["annotations"])
        self.annotations |= {number for number in told if type(number) is int}
        if not is_labelled(task):
            predictions = task.get("predictions") or ()
            self.shown[id] = {str(one.get("model_version")) for one in predictions}


def _there(
    services: Services, project: int, known: set[int], seen: _Seen
) -> Iterator[Mapping[str, Any]]:
    """Yield every task that a project has, those known as well that its list leaves out.

    Where a task is deleted while the pages of the list are read, those after it move up by one, and
    one of them from the page that comes next to the page that was read. One that is answered with
    an error is left out too: the others are asked for all the same. Label Studio numbers from 1:
    what was once shown by another number is no task.
    """
    left_out = {id for id in known if id >= 1}
    for task in services.label_studio.tasks(project, seen.unlisted.append):
        left_out.discard(int(task["id"]))
        yield task
    for id in sorted(left_out):
        try:
            task = services.label_studio.listed_task(project, id)
        except LabelStudioMissing:
            continue
        except LabelStudioError as error:
            _require_answer(services, project, error)
            seen.unanswered[id] = f"task {id} stays as it was known: {error}"
        else:
            yield task


def _record(
    services: Services,
    project: int,
    tasks: Iterable[Mapping[str, Any]],
    held: Mapping[int, Held],
    seen: _Seen,
) -> None:
    data_key = _data_key(services, project)
    # Of tasks that were gone for a while, as from a copy that was put in by mistake.
    forgotten = services.predictions.shown_tasks(project) - services.images.known_tasks(project)
    lay, lies = services.images.addresses(project), dict[int, str]()
    for task in tasks:
        id, listed = int(task["id"]), listed_address_of(task, data_key)
        seen.note(task)
        annotations, odd = _annotations(project, task)
        seen.unreadable += odd
        seen.recorded += sum(services.annotations.record(a, held.get(a.id)) for a in annotations)
        is_corrected = is_labelled(task)
        is_new = id in forgotten or is_elsewhere(listed, lay.get(id, ""))
        if is_corrected or is_new:
            seen.without_image |= _fetch_image(services, project, task, data_key)
        if lay.get(id, listed) == "":
            lies[id] = listed
        if is_new and not is_corrected:
            _take_back_boxes_of_another(services, project, task)
    services.images.set_addresses(project, lies)


def _lacks_pushed(seen: _Seen, pushed: str, given: set[int]) -> bool:
    """Say whether a task that was given the pushed boxes shows others alone."""
    shown = (names for id, names in seen.shown.items() if id in given)
    return any(names and pushed not in names for names in shown)


def _done(services: Services, project: int, seen: _Seen, gone: Iterable[int]) -> Reconciled:
    deleted = services.annotations.delete(project, gone)
    log.info("reconciled", project=project, recorded=seen.recorded, deleted=deleted)
    known = services.annotations.known(project).items()
    kept = sum(id in seen.annotations or task in seen.unanswered for id, task in known)
    unanswered = (*seen.unanswered.values(), *_unlisted_in_words(seen.unlisted))
    away = (f"task {id}: its image cannot be used: {why}" for id, why in seen.without_image.items())
    unreadable = (*seen.unreadable, *away)
    made, shown = tuple(seen.made), (seen.tasks, seen.shown)
    return Reconciled(unreadable, kept, made, unanswered, seen.without_image, *shown)


def _unlisted_in_words(errors: Sequence[LabelStudioError]) -> list[str]:
    if not errors:
        return []
    return [f"Not listed by Label Studio: {counted(len(errors), 'task')}; the first: {errors[0]}"]


def _annotations(project: int, task: Mapping[str, Any]) -> tuple[list[Annotation], list[str]]:
    """Return a task's annotations, and a sentence on each that is none and holds up no other."""
    annotations, odd = [], []
    for values in task["annotations"]:
        try:
            annotations.append(Annotation.from_label_studio(values, project, task["id"]))
        except BadRequest as error:
            odd.append(f"task {task['id']}: annotation {values.get('id')} left out: {error}")
    return annotations, odd


def _data_key(services: Services, project: int) -> str:
    return LabellingInterface.parse(services.projects.get(project).label_config).data_key


def _fetch_image(
    services: Services, project: int, task: Mapping[str, Any], data_key: str
) -> dict[int, str]:
    """Have the image of a task; say what keeps it away."""
    try:
        stored_task_image(services, project, task, data_key)
    except (BackendError, PreprocessingError, OSError) as error:
        return {int(task["id"]): str(error)}
    return {}


def _take_back_boxes_of_another(services: Services, project: int, task: Mapping[str, Any]) -> None:
    """Have an open task predicted anew when it is opened, where it shows boxes of another image."""
    id = int(task["id"])
    now, shown = services.images.of_task(project, id), services.predictions.last_shown(project, id)
    if now is None or shown is None or now.key == shown.key:
        return
    log.warning("task.image_exchanged", task=id, now=now.name)
    for one in task.get("predictions") or ():
        with suppress(LabelStudioMissing):
            services.label_studio.delete_prediction(one["id"])


def _require_answer(services: Services, project: int, error: LabelStudioError) -> None:
    """Raise where Label Studio answers nothing any more, not of one task alone."""
    if isinstance(error, LabelStudioSilent):
        services.label_studio.project(project)
