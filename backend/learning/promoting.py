"""The last step of a run: candidate and champion are judged, and the better one serves."""

from __future__ import annotations

from dataclasses import dataclass

from backend.errors import QueueError
from backend.learning.judging import judge_beside_champion
from backend.learning.progress import Reporter
from backend.learning.showing import show_least_work
from backend.services import Services
from backend.store.runs import PROMOTING, Run
from model.errors import ChampionChanged
from model.labels.examples import DatasetSnapshot
from model.reports import EvaluationReport
from model.versions import GateDecision, ModelVersion

#: How often a candidate is judged at most, if other versions keep coming to serve meanwhile.
MOST_JUDGEMENTS = 5


def let_the_better_serve(
    services: Services,
    run: Run,
    candidate: ModelVersion,
    snapshot: DatasetSnapshot,
    report: Reporter,
) -> tuple[str, GateDecision]:
    """Compare candidate and champion on the same held-out images; promote the better one.

    The open tasks get the boxes of what serves then, if the boxes differ from those before.

    Returns
    -------
    The id of the champion that the candidate was judged beside, and the decision.

    Raises
    ------
    TrainingCancelled
        Someone else ended the run.
    ChampionChanged
        Another version came to serve during each judgement.
    """
    contest = _Contest(services, run, candidate, snapshot, report)
    promoted = [change.champion for change in services.registry.history(str(run.project))]
    if candidate.id in promoted and candidate.decision and run.champion:
        # The run was cut off after its promotion, which somebody may have taken back since.
        champion, decision = run.champion, candidate.decision
    else:
        champion, decision = contest.judged()
    if decision.promoted:
        _push(services, run, candidate, report)
    return champion, decision


@dataclass(frozen=True)
class _Contest:
    """A candidate and whatever serves while it is judged."""

    services: Services
    run: Run
    candidate: ModelVersion
    snapshot: DatasetSnapshot
    report: Reporter

    def judged(self) -> tuple[str, GateDecision]:
        """Judge until no other version comes to serve meanwhile."""
        known = len(self.report.notes)
        for _ in range(MOST_JUDGEMENTS - 1):
            try:
                return self._judged_once()
            except ChampionChanged as error:
                del self.report.notes[known:]  # of a judgement that does not hold
                self.report.note(f"The candidate was judged once more: {error}")
                known = len(self.report.notes)
        return self._judged_once()

    def _judged_once(self) -> tuple[str, GateDecision]:
        self.report.stage("judging", 0.97, "judging candidate and champion on the same images")
        # Read again: someone may have chosen another champion while the candidate learned. The
        # stored id is needed too: it may name a starter of an earlier release, and then today's is
        # judged.
        registry, key = self.services.registry, str(self.run.project)
        serves, champion = registry.champion_id(key), registry.champion(key)
        self.services.runs.progress(self.run.id, champion=champion.id)
        decision = self._decided(champion)
        serving = self.candidate if decision.promoted else champion
        shows_others = show_least_work(
            self.services, self.run.project, serving, self.snapshot, self.report.note
        )
        if decision.promoted:
            self.report.stage(PROMOTING, 0.99)
            registry.promote(key, self.candidate.id, instead_of=serves)
        elif shows_others:
            _push(self.services, self.run, serving, self.report)
        return champion.id, decision

    def _decided(self, champion: ModelVersion) -> GateDecision:
        decision = judge_beside_champion(
            self.services, self.run.project, self.candidate, champion, self.snapshot
        )
        self.report.stage("judging", 0.98)  # a run cancelled meanwhile decides nothing
        self.services.registry.record_decision(self.candidate.id, decision)
        self.services.runs.progress(self.run.id, ap50=_ap50(decision.candidate))
        return decision


def _push(services: Services, run: Run, version: ModelVersion, report: Reporter) -> None:
    try:
        services.queue.enqueue_push(run.project, version.id)
    except QueueError as error:
        report.note(f"The open tasks get the new boxes later: {error}")


def _ap50(report: EvaluationReport | None) -> float | None:
    return report.any_class.ap50 if report else None
