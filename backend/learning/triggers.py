"""Opens runs: when a correction reaches a milestone, or at the button."""

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
    """Open and queue a run if a milestone is reached; doubled events open only one.

    Returns
    -------
    The run that this call opened.

    Raises
    ------
    QueueError
        Redis cannot be reached; the run waits in the store. The next correction, or the worker's
        start, queues it.
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
    """Open and queue a run now; if one already waits or runs, return that.

    Raises
    ------
    NotFound
        The project is not known.
    QueueError
        Redis cannot be reached; the run waits in the store.
    """
    run = services.runs.active(project)
    while run is None:
        corrected = services.annotations.corrected_count(project)
        # If two people press at once, one opens the run and the other finds it active.
        run = services.runs.open(project, corrected, "button") or services.runs.active(project)
    requeue_pending(services, project)
    return run


def retry(services: Services, id: int) -> Run:
    """Open and queue another attempt at the milestone of a run that has ended.

    It learns from the present corrections.

    Raises
    ------
    NotFound
        There is no such run.
    Refused
        This or another run of the project waits or runs.
    QueueError
        Redis cannot be reached; the run waits in the store.
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
    """End a waiting or running run; a training stops at its next progress report.

    Raises
    ------
    NotFound
        There is no such run.
    Refused
        The run has ended already, or its candidate is becoming champion.
    """
    if not services.runs.cancel(id):
        run = services.runs.get(id)
        why = "is being promoted" if run.is_active else f"has ended already ({run.state})"
        promotes = run.is_active or run.state == "promoted"
        back = "; `cytoloop models rollback` returns to the champion before" * promotes
        raise Refused(f"Run {id} {why}{back}.")
    return services.runs.get(id)


def can_begin(services: Services, project: int | None = None) -> list[Run]:
    """Return the runs that only wait for a worker, oldest first.

    Others wait for a run of their project to end; the worker of that run queues them.
    """
    return [
        run
        for run in services.runs.unfinished(project)
        if run.state == "queued" and not is_taken(project_folder(services.settings, run.project))
    ]


def requeue_pending(services: Services, project: int | None = None) -> list[Run]:
    """Queue the runs that can begin but have no job: Redis was away, or lost it.

    Called when the web process and the worker start; cheap enough for every correction.

    Returns
    -------
    The runs that can begin, oldest first.

    Raises
    ------
    QueueError
        Redis cannot be reached.
    """
    waiting = can_begin(services, project)
    for run in waiting:
        services.queue.enqueue_learn(run.id)
    return waiting


def take_up(services: Services) -> list[Run]:
    """Make runs whose process died wait again, and queue all that wait.

    Called when the worker starts, after ``JobQueue.reap`` has removed dead workers.
    """
    for run in _cut_off(services):
        services.queue.drop_learn(run.id)
    return requeue_pending(services)


def take_up_killed(services: Services, run_id: int, how: str) -> None:
    """Make a run whose process was killed wait again, or end it if it gets no further.

    Called by the worker once RQ is done with the job. If the poll noticed first, the run is queued
    already, and the death is not counted twice.
    """
    run = services.runs.get(run_id)
    if not services.queue.is_live(run_id):
        services.runs.cut_off(run, how)
    requeue_pending(services)


def take_up_lost(services: Services) -> list[Run]:
    """Do the same for runs without a job: Redis lost it, or it could not report its end.

    Called now and then. A run whose job still counts as worked on is left to its worker, which is
    about to take it up.
    """
    _cut_off(services, but=services.queue.is_live)
    return requeue_pending(services)


def push_champions(services: Services) -> None:
    """Queue each champion's boxes for the open tasks of its project that lack them.

    The poll reports a project whose champion cannot be read.

    Raises
    ------
    QueueError
        Redis cannot be reached.
    """
    for project in services.projects.all():
        with suppress(ModelError):
            push_champion(services, project.id)


def push_champion(services: Services, project: int, even_first: bool = False) -> bool:
    """Queue the champion's boxes for the open tasks, unless they have them.

    Parameters
    ----------
    even_first
        As in :func:`is_pushed`.

    Returns
    -------
    Whether this call queued them.
    """
    if not lack_boxes(services, project, even_first):
        return False
    return services.queue.enqueue_push(project, services.registry.champion(str(project)).id)


def lack_boxes(services: Services, project: int, even_first: bool = False) -> bool:
    """Tell whether the open tasks still lack the champion's boxes."""
    if not is_pushed(services, project, even_first):
        return False
    return services.registry.served_name(str(project)) != services.projects.get(project).pushed


def is_pushed(services: Services, project: int, even_first: bool = False) -> bool:
    """Tell whether a project's open tasks are given boxes before anybody opens them.

    Parameters
    ----------
    even_first
        Also if no version or policy was ever chosen; tasks otherwise get boxes when opened.
    """
    return even_first or bool(services.registry.champion_stamp(str(project)))


def _cut_off(services: Services, but: Callable[[int], bool] = lambda run: False) -> list[Run]:
    """Make running runs that no process holds wait again."""
    found = []
    for run in services.runs.unfinished():
        if run.state != "running" or is_taken(run_folder(services.settings, run.id)) or but(run.id):
            continue
        log.warning("run.cut_off", run=run.id, project=run.project)
        if services.runs.cut_off(run, "ended before it was done"):
            found.append(run)
    return found
