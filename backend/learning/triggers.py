"""What opens a run: a correction that reaches a milestone, or the button."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import structlog

from backend.errors import Refused
from backend.learning.taken import is_taken, project_folder, run_folder
from backend.milestones import next_milestone
from backend.services import Services
from backend.store.runs import Run
from model.errors import ModelError

log = structlog.get_logger(__name__)


def after_correction(services: Services, project: int) -> Run | None:
    """Open and queue a run when a milestone is reached; doubled events open one.

    Returns
    -------
    The run that this call opened.

    Raises
    ------
    QueueError
        When Redis cannot be reached; the run waits in the store and is queued by the next
        correction, or when the worker starts.
    """
    chosen = services.projects.get(project)
    milestone = next_milestone(
        services.annotations.corrected_count(project),
        chosen.milestones,
        services.settings.milestone_step,
        services.runs.milestones_done(project),
    )
    run = None
    if milestone is not None:
        run = services.runs.open(project, milestone, "milestone")
    requeue_pending(services, project)
    return run


def start_training(services: Services, project: int) -> Run:
    """Open and queue a run at once; while one waits or runs, return that.

    Raises
    ------
    NotFound
        When the project is not known.
    QueueError
        When Redis cannot be reached; the run waits in the store.
    """
    run = services.runs.active(project)
    while run is None:
        corrected = services.annotations.corrected_count(project)
        # Of two that press at once one opens the run, and the other finds it active.
        run = services.runs.open(project, corrected, "button") or services.runs.active(project)
    requeue_pending(services, project)
    return run


def retry(services: Services, id: int) -> Run:
    """Open and queue another attempt at the milestone of a run that has ended.

    It learns from the corrections of now.

    Raises
    ------
    NotFound
        When there is no such run.
    Refused
        When this or another run of the project waits or runs.
    QueueError
        When Redis cannot be reached; the run waits in the store.
    """
    run = services.runs.get(id)
    again = None
    if (active := services.runs.active(run.project)) is None:
        again = services.runs.open(run.project, run.milestone, "button")
        active = services.runs.active(run.project)
    if again is None:
        busy = active.id if active else id
        raise Refused(
            f"Run {busy} of project {run.project} has not ended: wait for it, or end it with "
            f"`cytoloop runs cancel {busy}`."
        )
    requeue_pending(services, run.project)
    return again


def cancel(services: Services, id: int) -> Run:
    """End a run that waits or runs; a training stops at its next progress report.

    Raises
    ------
    NotFound
        When there is no such run.
    Refused
        When it has ended already, or its candidate is becoming champion.
    """
    if not services.runs.cancel(id):
        run = services.runs.get(id)
        why = "is being promoted" if run.is_active else f"has ended already ({run.state})"
        promotes = run.is_active or run.state == "promoted"
        back = "; `cytoloop models rollback` returns to the champion before" * promotes
        raise Refused(f"Run {id} {why}{back}.")
    return services.runs.get(id)


def can_begin(services: Services, project: int | None = None) -> list[Run]:
    """Return the runs that wait for a worker alone, oldest first.

    Others wait for a run of their project to end: these are queued by the worker of that.
    """
    return [
        run
        for run in services.runs.unfinished(project)
        if run.state == "queued" and not is_taken(project_folder(services.settings, run.project))
    ]


def requeue_pending(services: Services, project: int | None = None) -> list[Run]:
    """Queue the runs that can begin and have no job: Redis was away, or lost it.

    For the start of the web process and of the worker, and cheap enough for every correction.

    Returns
    -------
    The runs that were looked after, oldest first.

    Raises
    ------
    QueueError
        When Redis cannot be reached.
    """
    waiting = can_begin(services, project)
    for run in waiting:
        services.queue.enqueue_learn(run.id)
    return waiting


def take_up(services: Services) -> list[Run]:
    """Let the runs wait again whose process died, and queue all that wait.

    For the start of the worker, after the dead workers were buried (``JobQueue.reap``).
    """
    for run in _cut_off(services):
        services.queue.drop_learn(run.id)
    return requeue_pending(services)


def take_up_killed(services: Services, run_id: int, how: str) -> None:
    """Have a run whose process was killed wait again, or end it when that leads nowhere.

    For the worker, once RQ is done with the job. Where the poll saw it die first, the run is
    queued already, and this death is not counted twice.
    """
    run = services.runs.get(run_id)
    if not services.queue.is_live(run_id):
        services.runs.cut_off(run, how)
    requeue_pending(services)


def take_up_lost(services: Services) -> list[Run]:
    """Do the same for runs that no job stands for: Redis lost it, or it could not say how it ended.

    For every now and then. A run whose job still counts as worked on is left to its worker, which
    is about to take it up.
    """
    _cut_off(services, but=services.queue.is_live)
    return requeue_pending(services)


def push_champions(services: Services) -> None:
    """Queue each project's champion's boxes for its open tasks where they lack them.

    Of a project whose champion cannot be told the poll says so.

    Raises
    ------
    QueueError
        When Redis cannot be reached.
    """
    for project in services.projects.all():
        with suppress(ModelError):
            push_champion(services, project.id)


def push_champion(services: Services, project: int, even_first: bool = False) -> bool:
    """Queue the champion's boxes for the open tasks, unless they have them.

    Parameters
    ----------
    even_first
        Also where no version or policy was ever chosen, and tasks get boxes when they are opened.

    Returns
    -------
    Whether this call queued them.
    """
    if not lack_boxes(services, project, even_first):
        return False
    return services.queue.enqueue_push(project, services.registry.champion(str(project)).id)


def lack_boxes(services: Services, project: int, even_first: bool = False) -> bool:
    """Say whether the open tasks are still to be given the champion's boxes."""
    key = str(project)
    if not even_first and not services.registry.champion_stamp(key):
        return False
    return services.registry.served_name(key) != services.projects.get(project).pushed


def _cut_off(services: Services, but: Callable[[int], bool] = lambda run: False) -> list[Run]:
    """Have the running runs wait again that no process holds."""
    found = []
    for run in services.runs.unfinished():
        if run.state != "running" or is_taken(run_folder(services.settings, run.id)) or but(run.id):
            continue
        log.warning("run.cut_off", run=run.id, project=run.project)
        if services.runs.cut_off(run, "ended before it was done"):
            found.append(run)
    return found
