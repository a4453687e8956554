"""Carries out one run: snapshot, candidate, gate, and perhaps a new champion."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog
from sqlalchemy.exc import OperationalError

from backend.errors import LabelStudioError, LabelStudioMissing, NotFound
from backend.learning.failures import in_words
from backend.learning.progress import Reporter
from backend.learning.promoting import let_the_better_serve
from backend.learning.reconcile import gone_in_words, reconcile
from backend.learning.snapshots import (
    NO_CLASS,
    build_snapshot,
    frozen,
    frozen_whole,
    snapshot_file,
)
from backend.learning.taken import project_folder, run_folder, take
from backend.services import Services
from backend.store.mending import is_away
from backend.store.runs import Run
from model.errors import NothingToLearn, TrainingCancelled
from model.labels.examples import DatasetSnapshot
from model.labels.sides import FEWEST_OF_FIVE
from model.learning.candidate import make_candidate
from model.progress import ignore_note, part_of
from model.versions import GateDecision, ModelVersion

log = structlog.get_logger(__name__)

#: The share of a run done once its snapshot is frozen, and once its candidate is in the registry.
FROZEN, LEARNED = 0.01, 0.96


@dataclass(frozen=True)
class Ending:
    """How a run ended, as the store keeps it; None leaves a value as it is."""

    state: Literal["promoted", "refused", "failed", "cancelled", "covered"]
    message: str
    candidate: str | None = None
    champion: str | None = None
    decision: GateDecision | None = None


def learn(services: Services, run_id: int) -> None:
    """Carry out a waiting run; whatever happens, the store records it in the end.

    Nothing is done for a run that does not wait or that another process works on (a doubled job, a
    cancelled run). Nor while another run of its project is worked on: it waits for that run to end,
    which may do its work too. A run that was cut off goes on with the snapshot that it froze, from
    its last checkpoint or with its candidate if that is stored already. A failure never touches the
    champion; `cytoloop runs retry` tries again.

    Raises
    ------
    OperationalError
        The database is away; the run counts as cut off.
    """
    settings = services.settings
    try:
        waiting = services.runs.get(run_id)
        with (
            take(project_folder(settings, waiting.project)) as alone,
            # A process that is not alone takes nothing: two would keep each other from the run.
            take(run_folder(settings, run_id)) if alone else nullcontext(False) as free,
        ):
            run = services.runs.start(run_id) if free else None
            if run is None:
                log.info("run.not_waiting", run=run_id)
            else:
                _end(services, run, _ending(services, run, waiting))
    except NotFound:  # a job of another store, such as one since restored from a copy
        log.info("run.not_waiting", run=run_id)
    except OSError as error:  # its folder cannot be made
        services.runs.finish(run_id, "failed", message=in_words(error))


def _end(services: Services, run: Run, ending: Ending) -> None:
    try:
        services.runs.get(run.id)
    except OperationalError as error:
        if is_away(error):  # its end cannot be recorded: it goes on from its checkpoint
            raise
    # This comes first: the run may have failed because the disk is full.
    shutil.rmtree(_working(services, run.id), ignore_errors=True)
    told = {name: value for name, value in vars(ending).items() if value is not None}
    services.runs.finish(run.id, **told)
    log.info("run.ended", run=run.id, state=ending.state, candidate=ending.candidate)


def sweep(services: Services) -> None:
    """Remove what is no longer of use in the folders of ended runs.

    These are the remains of trainings that nobody works on, and snapshots older than the newest
    usable one of each project. That one serves to choose anew which boxes are shown
    (``show_anew``). Newer ones stay too: their raw files may come back, as on a disk that is away.
    """
    usable = set[int]()
    for run in services.runs.all():
        if run.is_active:
            continue
        shutil.rmtree(_working(services, run.id), ignore_errors=True)
        if run.project in usable:
            with suppress(OSError):
                snapshot_file(services.settings, run.id).unlink()
        elif frozen(services, run, ignore_note):
            usable.add(run.project)


def _ending(services: Services, run: Run, waiting: Run) -> Ending:
    report = Reporter(services.runs, run.id, run.notes)
    try:
        return _carry_out(services, run, waiting, report)
    except TrainingCancelled as error:
        return Ending("cancelled", str(error))
    except LabelStudioMissing as error:
        return Ending("cancelled", gone_in_words(error))
    except NothingToLearn as error:
        return Ending("refused", report.message(str(error)))
    except Exception as error:  # outermost: whatever fails, the run must not stay running
        if is_away(error):  # a restarted database must not cost hours of training
            raise
        log.exception("run.failed", run=run.id)
        return Ending("failed", f"{in_words(error)} The champion serves as before.")


def _carry_out(services: Services, run: Run, waiting: Run, report: Reporter) -> Ending:
    snapshot = _frozen(services, run)
    if snapshot and (later := _overtaken_by(services, waiting)):
        return Ending("covered", f"Run {later.id} has learned from more corrections meanwhile.")
    snapshot = snapshot or _freeze(services, run, report)
    _check_held_out(services, run, snapshot, report.notes)
    candidate = _stored(services, run, snapshot)
    if candidate and (before := _judged_already(services, run, candidate)):
        return Ending(
            "refused",
            report.message(
                f"Nothing new: run {before.id} learned from the same corrections by the same "
                f"recipe and ended as {before.state}. Correct more images first, or start the loop "
                f"anew with another CYTOLOOP_PRESET, then `cytoloop runs retry {run.id}`."
            ),
        )
    candidate = candidate or make_candidate(
        snapshot,
        services.registry,
        workdir=_working(services, run.id),
        champion=services.registry.champion(str(run.project)),
        project=str(run.project),
        recipe=services.settings.recipe,
        device=services.settings.device,
        with_report=False,
        processes=1 if run.cut_offs else 0,  # its process was most often ended by a lack of memory
        on_progress=part_of(report, FROZEN, LEARNED),
    )
    services.runs.progress(run.id, candidate=candidate.id)
    for note in candidate.notes:
        report.note(note)
    champion, decision = let_the_better_serve(services, run, candidate, snapshot, report)
    state: Literal["promoted", "refused"] = "promoted" if decision.promoted else "refused"
    return Ending(state, report.message(*decision.reasons), candidate.id, champion, decision)


def _frozen(services: Services, run: Run) -> DatasetSnapshot | None:
    """Return what a cut-off run froze: it learns from that, not from later corrections."""
    snapshot = frozen_whole(services, run, lambda why: log.warning("run.frozen_anew", reason=why))
    return snapshot if snapshot and snapshot.sha256 == run.snapshot else None


def _overtaken_by(services: Services, waiting: Run) -> Run | None:
    """Return the run that learned from more images while this one was cut off and waited.

    Its version must not give way to one of fewer images. None if this run's was promoted.
    """
    history = services.registry.history(str(waiting.project))
    if waiting.candidate in [change.champion for change in history]:
        return None
    return services.runs.learned_from_more(waiting)


def _stored(services: Services, run: Run, snapshot: DatasetSnapshot) -> ModelVersion | None:
    """Return the version that these corrections and this recipe have already given.

    It is another run's, or this run's if it was cut off after the version was stored.
    """
    made = [
        version
        for version in services.registry.list(str(run.project))
        if version.snapshot == snapshot.sha256
        and version.project == str(run.project)
        and version.is_by(*services.settings.recipe)
    ]
    return made[-1] if made else None


def _judged_already(services: Services, run: Run, candidate: ModelVersion) -> Run | None:
    """Return the run whose judgement of a candidate still holds; after a roll-back it may not."""
    champion = services.registry.champion(str(run.project))
    return services.runs.judged(candidate.id, champion.id)


def _freeze(services: Services, run: Run, report: Reporter) -> DatasetSnapshot:
    """Bring the store up to date and freeze its corrections."""
    report.stage("snapshot", 0.0, "asking Label Studio for all corrections")
    try:
        reconciled = reconcile(services, run.project)
        for reason in reconciled.unanswered + reconciled.unreadable:
            report.note(reason)
    except LabelStudioMissing:
        raise
    except LabelStudioError as error:
        report.note(f"Label Studio was not asked, so corrections may be missing: {error}")
    # Counted before freezing: what arrives meanwhile is for the next milestone.
    corrected = services.annotations.corrected_count(run.project)
    snapshot = build_snapshot(services, run.project, report.note)
    snapshot.save(snapshot_file(services.settings, run.id))
    for covered in services.runs.freeze(run.id, snapshot.sha256, corrected, report.notes):
        log.info("run.covered", run=covered, by=run.id)
    return snapshot


def _check_held_out(
    services: Services, run: Run, snapshot: DatasetSnapshot, notes: Sequence[str]
) -> None:
    if not snapshot.of_side("held-out"):
        corrected = services.runs.get(run.id).corrected or 0
        enough = (
            "Images of one field, such as the frames of a film, count as one, and those that are "
            "left out as none: correct images of other fields too, of three in all"
            if corrected >= FEWEST_OF_FIVE
            else "Three corrected images are enough to begin with"
        )
        renamed = next((note for note in notes if NO_CLASS in note), "")
        mend = "add that class in the project's Settings, Labeling Interface, or name them anew"
        raise NothingToLearn(
            (f"Boxes have a class that the project lacks ({renamed}): {mend}. " if renamed else "")
            + f"No corrected image is held out to judge a candidate by ({corrected} corrected). "
            f"{enough}; without a judgement no candidate takes the champion's place, so none was "
            "trained."
        )


def _working(services: Services, run_id: int) -> Path:
    return run_folder(services.settings, run_id) / "training"
