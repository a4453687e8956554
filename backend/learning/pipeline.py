"""One run from end to end: snapshot, candidate, gate, and perhaps a new champion."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import structlog

from backend.errors import LabelStudioError, QueueError
from backend.learning.progress import Reporter
from backend.learning.reconcile import reconcile
from backend.learning.snapshots import build_snapshot
from backend.services import Services
from backend.settings import Settings
from backend.store.runs import Run
from model.config import PRESETS, DetectorConfig, GateConfig, TrainConfig
from model.errors import NothingToLearn, TrainingCancelled
from model.evaluation import evaluate_version
from model.examples import DatasetSnapshot
from model.gate import decide
from model.learning import make_candidate
from model.versions import EvaluationReport, GateDecision, ModelVersion

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a run ended, as the store keeps it."""

    state: Literal["promoted", "refused"]
    message: str
    candidate: str | None = None
    champion: str | None = None
    decision: GateDecision | None = None


def learn(services: Services, run_id: int) -> None:
    """Carry out a run that waits; whatever happens, the store says so in the end.

    A run that does not wait (a doubled job, a cancelled run) is left alone. A failure never
    touches the champion; the button tries again.
    """
    run = services.runs.start(run_id)
    if run is None:
        log.info("run.not_waiting", run=run_id)
        return
    try:
        outcome = _carry_out(services, run, Reporter(services.runs, run.id))
    except TrainingCancelled as error:
        services.runs.finish(run.id, "cancelled", message=str(error))
    except NothingToLearn as error:
        services.runs.finish(run.id, "refused", message=str(error))
    except Exception as error:  # the door of a run: nothing may leave it running
        log.exception("run.failed", run=run.id)
        services.runs.finish(run.id, "failed", message=f"{type(error).__name__}: {error}")
    else:
        services.runs.finish(run.id, **vars(outcome))
        log.info("run.ended", run=run.id, state=outcome.state, candidate=outcome.candidate)
    shutil.rmtree(_folder(services, run) / "training", ignore_errors=True)


def _carry_out(services: Services, run: Run, report: Reporter) -> Outcome:
    snapshot = _freeze(services, run, report)
    services.runs.progress(run.id, snapshot=snapshot.sha256)
    if before := services.runs.learned(run.project, snapshot.sha256):
        return Outcome(
            "refused",
            report.message(
                f"Nothing new: run {before.id} learned from the same corrections and ended as "
                f"{before.state}. Correct more images first."
            ),
        )
    candidate = make_candidate(
        snapshot,
        services.registry,
        workdir=_folder(services, run) / "training",
        champion=services.registry.champion(str(run.project)),
        project=str(run.project),
        preset=_preset(services.settings),
        device=services.settings.device,
        on_progress=report,
    )
    services.runs.progress(run.id, candidate=candidate.id)
    for note in candidate.notes:
        report.note(note)
    return _judge(services, run, candidate, snapshot, report)


def _freeze(services: Services, run: Run, report: Reporter) -> DatasetSnapshot:
    """Bring the store up to date and freeze what it holds."""
    report.stage("snapshot", 0.0, "asking Label Studio for all corrections")
    try:
        reconciled = reconcile(services, run.project)
        for reason in reconciled.unreadable:
            report.note(reason)
    except LabelStudioError as error:
        report.note(f"Label Studio was not asked, so corrections may be missing: {error}")
    snapshot = build_snapshot(services, run.project, report.note)
    folder = _folder(services, run)
    folder.mkdir(parents=True, exist_ok=True)
    snapshot.save(folder / "snapshot.json")
    if not snapshot.of_side("held-out"):
        corrected = services.annotations.corrected_count(run.project)
        raise NothingToLearn(
            report.message(
                f"No corrected image is held out to judge a candidate by ({corrected} corrected). "
                "Three corrected images are enough to begin with; without a judgement no candidate "
                "takes the champion's place, so none was trained."
            )
        )
    return snapshot


def _judge(
    services: Services,
    run: Run,
    candidate: ModelVersion,
    snapshot: DatasetSnapshot,
    report: Reporter,
) -> Outcome:
    """Compare candidate and champion on the same held-out images; promote the better one."""
    project = str(run.project)
    report.stage("judging", 0.97, "judging the champion on the same images")
    # Read again: someone may have chosen another champion while the candidate learned.
    champion = services.registry.champion(project)
    services.runs.progress(run.id, champion=champion.id)
    decision = decide(
        candidate.report or _evaluate(services, run, candidate, snapshot),
        _evaluate(services, run, champion, snapshot),
        GateConfig(),
    )
    services.registry.record_decision(candidate.id, decision)
    if decision.promoted:
        report.stage("promoting", 0.99)
        services.registry.promote(project, candidate.id)
        _push(services, run, candidate, report)
    return Outcome(
        "promoted" if decision.promoted else "refused",
        report.message(*decision.reasons),
        candidate.id,
        champion.id,
        decision,
    )


def _evaluate(
    services: Services, run: Run, version: ModelVersion, snapshot: DatasetSnapshot
) -> EvaluationReport:
    return evaluate_version(
        services.registry.load(version.id, services.settings.device),
        snapshot.of_side("held-out"),
        snapshot.classes,
        default_class=services.projects.get(run.project).default_class,
    )


def _push(services: Services, run: Run, candidate: ModelVersion, report: Reporter) -> None:
    try:
        services.queue.enqueue_push(run.project, candidate.id)
    except QueueError as error:
        report.note(f"Tasks get the new boxes when they are opened, not before: {error}")


def _preset(settings: Settings) -> tuple[DetectorConfig, TrainConfig]:
    detector, training = PRESETS[settings.preset]
    iterations = settings.iterations or training.iterations
    return detector, replace(training, iterations=iterations)


def _folder(services: Services, run: Run) -> Path:
    return services.settings.runs_folder / str(run.id)
