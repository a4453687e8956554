"""Makes good what events lost: Label Studio's API has the truth about annotations."""

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
    """What the store has once it agrees with the API.

    Parameters
    ----------
    unreadable
        Tasks whose image or annotation could not be fetched or read, each with the reason; also why
        the project's label_config cannot be used.
    kept
        The number of annotations that the store now has, of the tasks that were looked at and of
        those without an answer.
    made
        When each of these tasks was made, where Label Studio says so.
    unanswered
        Tasks that Label Studio did not list, or for which it gave no usable answer, each with the
        reason. What is known of them stays until they are asked for again.
    without_image
        By task, why its image could not be had; also in ``unreadable``.
    tasks
        The tasks that were looked at.
    shown
        For each of these that is open, what served its boxes; empty if it has none.
    """

    unreadable: tuple[str, ...]
    kept: int
    made: tuple[datetime, ...]
    unanswered: tuple[str, ...]
    without_image: Mapping[int, str]
    tasks: Set[int]
    shown: Mapping[int, Set[str]]


def reconcile(services: Services, project: int) -> Reconciled:
    """Record every annotation that Label Studio has now, and forget those that it no longer has.

    This holds even if they are older than what is known or were forgotten here, as after Label
    Studio was restored from a copy. The same goes for tasks, title and label_config. Images of
    corrected tasks that Cytoloop did not import are fetched and kept, and so are those of open
    tasks that were shown boxes and then forgotten. Open tasks that lost pushed boxes, and show
    earlier ones, are marked to get them again.

    Raises
    ------
    LabelStudioMissing
        The project was deleted there; this is recorded.
    LabelStudioError
        Label Studio cannot be reached, or does not list the tasks; what was recorded before stays.
    """
    _, problem = follow(services, project)
    # Only what was known before the first page may count as gone or restored: a newer annotation or
    # task may have missed its page.
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
    """Do the same for tasks changed at or after a moment; deleted tasks are not seen."""
    annotations = services.annotations.known(project)
    seen = _Seen()
    changed = services.label_studio.changed_tasks(project, since, seen.unlisted.append)
    _record(services, project, changed, {}, seen)
    of_seen = {id for id, task in annotations.items() if task in seen.tasks}
    return _done(services, project, seen, of_seen - seen.annotations)


def fetch_images(services: Services, project: int, tasks: Collection[int]) -> dict[int, str]:
    """Try again for the images of tasks; return, by task, why an image could not be had.

    Raises
    ------
    LabelStudioSilent
        Label Studio does not answer.
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
    """Record a project's current title, label_config and number of tasks, or that it is gone.

    The runs of a project that is gone end, since nobody would see them.

    Returns
    -------
    The project as Label Studio describes it, and why its label_config cannot be used.

    Raises
    ------
    LabelStudioMissing, LabelStudioError
        As in ``reconcile``.
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
    """Record a project's current title and label_config; an unknown project becomes known.

    Returns
    -------
    Why the label_config no longer draws boxes, in which case the one before is kept; empty if it
    does.

    Raises
    ------
    BadLabelConfig
        The label_config draws no boxes, and there is no earlier one to go on with.
    """
    try:
        services.projects.ensure(project, title, label_config)
    except BadLabelConfig as error:
        if project not in {known.id for known in services.projects.all(gone=True)}:
            raise
        return f"{error} Until then Cytoloop goes on with the one of before."
    return ""


def gone_in_words(error: LabelStudioMissing) -> str:
    """Return why runs end whose project was deleted in Label Studio."""
    return (
        f"The project is not in Label Studio any more. {error} Should it come back:"
        " `cytoloop runs retry` of this run."
    )


def name_annotators(services: Services) -> None:
    """Ask for the names of annotators not asked for yet; events have only their numbers.

    An annotator whom Label Studio does not know, or who was removed and is called "Deleted" there,
    keeps the number as a name.

    Raises
    ------
    LabelStudioError
        Label Studio cannot be reached, or does not give the names.
    """
    if unnamed := services.annotators.unnamed():
        users = services.label_studio.users()
        known = {str(user["id"]): user["email"] for user in users if "@" in user["email"]}
        services.annotators.call({number: known.get(number, number) for number in unnamed})


@dataclass
class _Seen:
    """What was seen of a project's tasks."""

    tasks: set[int] = field(default_factory=set)
    made: list[datetime] = field(default_factory=list)
    #: By open task, what served its boxes.
    shown: dict[int, set[str]] = field(default_factory=dict)
    annotations: set[int] = field(default_factory=set)
    recorded: int = 0
    unreadable: list[str] = field(default_factory=list)
    #: What Label Studio said instead of an answer for a task, or of listing one.
    unanswered: dict[int, str] = field(default_factory=dict)
    unlisted: list[LabelStudioError] = field(default_factory=list)
    without_image: dict[int, str] = field(default_factory=dict)

    def note(self, task: Mapping[str, Any]) -> None:
        """Note a task and its annotations, including those that cannot be read: they exist."""
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
    """Yield every task of a project, including known ones that its list leaves out.

    If a task is deleted while the list's pages are read, those after it move up one place, and one
    moves from the next page to the page already read. A task that is answered with an error is left
    out too; the others are still asked for. Label Studio numbers from 1: what was once shown under
    another number is no task.
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
    # For tasks that were gone for a while, as when a wrong copy was restored.
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
    """Tell whether a task that was given the pushed boxes now shows only other boxes."""
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
    """Return a task's annotations, and a sentence on each unreadable one, which stops no other."""
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
    """Get the image of a task; return why it could not be had, by task."""
    try:
        stored_task_image(services, project, task, data_key)
    except (BackendError, PreprocessingError, OSError) as error:
        return {int(task["id"]): str(error)}
    return {}


def _take_back_boxes_of_another(services: Services, project: int, task: Mapping[str, Any]) -> None:
    """If an open task shows boxes of another image, let it be predicted anew when opened."""
    id = int(task["id"])
    now, shown = services.images.of_task(project, id), services.predictions.last_shown(project, id)
    if now is None or shown is None or now.key == shown.key:
        return
    log.warning("task.image_exchanged", task=id, now=now.name)
    for one in task.get("predictions") or ():
        with suppress(LabelStudioMissing):
            services.label_studio.delete_prediction(one["id"])


def _require_answer(services: Services, project: int, error: LabelStudioError) -> None:
    """Raise if Label Studio answers nothing any more, not only nothing for one task."""
    if isinstance(error, LabelStudioSilent):
        services.label_studio.project(project)
