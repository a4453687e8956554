"""The last step of a run: candidate and champion are judged, and the better one serves."""

from __future__ import annotations

from backend.errors import QueueError
from backend.learning.judging import judge
from backend.learning.progress import Reporter
from backend.learning.showing import show_least_work
from backend.services import Services
from backend.store.runs import PROMOTING, Run
from model.errors import ChampionChanged
from model.examples import DatasetSnapshot
from model.reports import EvaluationReport
from model.versions import GateDecision, ModelVersion

#: A candidate is judged again where another version came to serve meanwhile, but not for ever.
MOST_JUDGEMENTS = 5


def let_the_better_serve(
    services: Services,
    run: Run,
    candidate: ModelVersion,
    snapshot: DatasetSnapshot,
    report: Reporter,
) -> tuple[str, GateDecision]:
    """Compare candidate and champion on the same held-out images; promote the better one.

    The open tasks get the boxes of what serves then, where these are others than before.

    Returns
    -------
    The id of the champion that the candidate was judged beside, and what was decided.

    Raises
    ------
    TrainingCancelled
        When the run was ended by someone else.
    ChampionChanged
        When another version came to serve during each of the judgements.
    """
    promoted = [change.champion for change in services.registry.history(str(run.project))]
    if candidate.id in promoted and candidate.decision and run.champion:
        # Cut off between its promotion and its end, which may have been taken back by hand since.
        champion, decision = run.champion, candidate.decision
    else:
        champion, decision = _judged(services, run, candidate, snapshot, report)
    if decision.promoted:
        _push(services, run, candidate, report)
    return champion, decision


def _judged(
    services: Services,
    run: Run,
    candidate: ModelVersion,
    snapshot: DatasetSnapshot,
    report: Reporter,
) -> tuple[str, GateDecision]:
    known = len(report.notes)
    for _ in range(MOST_JUDGEMENTS - 1):
        try:
            return _judged_once(services, run, candidate, snapshot, report)
        except ChampionChanged as error:
            del report.notes[known:]  # of a judgement that does not hold
            report.note(f"The candidate was judged once more: {error}")
            known = len(report.notes)
    return _judged_once(services, run, candidate, snapshot, report)


def _judged_once(
    services: Services,
    run: Run,
    candidate: ModelVersion,
    snapshot: DatasetSnapshot,
    report: Reporter,
) -> tuple[str, GateDecision]:
    report.stage("judging", 0.97, "judging candidate and champion on the same images")
    # Read again: someone may have chosen another champion while the candidate learned. By its own
    # id first, which a starter of an earlier release has too; today's is judged in its place.
    key = str(run.project)
    serves, champion = services.registry.champion_id(key), services.registry.champion(key)
    services.runs.progress(run.id, champion=champion.id)
    decision = _decide(services, run, candidate, champion, snapshot, report)
    serving = candidate if decision.promoted else champion
    shows_others = show_least_work(services, run.project, serving, snapshot, report.note)
    if decision.promoted:
        report.stage(PROMOTING, 0.99)
        services.registry.promote(key, candidate.id, instead_of=serves)
    elif shows_others:
        _push(services, run, serving, report)
    return champion.id, decision


def _decide(
    services: Services,
    run: Run,
    candidate: ModelVersion,
    champion: ModelVersion,
    snapshot: DatasetSnapshot,
    report: Reporter,
) -> GateDecision:
    decision = judge(services, run.project, candidate, champion, snapshot)
    report.stage("judging", 0.98)  # a run that was cancelled meanwhile decides nothing
    services.registry.record_decision(candidate.id, decision)
    services.runs.progress(run.id, ap50=_ap50(decision.candidate))
    return decision


def _push(services: Services, run: Run, version: ModelVersion, report: Reporter) -> None:
    try:
        services.queue.enqueue_push(run.project, version.id)
    except QueueError as error:
        report.note(f"The open tasks get the new boxes later: {error}")


def _ap50(report: EvaluationReport | None) -> float | None:
    return report.any_class.ap50 if report else None
