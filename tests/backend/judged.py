"""What runs said of versions, without a training."""

from __future__ import annotations

from backend.services import Services
from model.reports import AveragePrecision, CountReport, Counts, EvaluationReport
from model.versions import GateDecision


def report_of(counts: Counts, name: str = "Cell") -> EvaluationReport:
    """Return a report of which all that matters is what was counted in images of their own."""
    none = AveragePrecision(None, None, None)
    return EvaluationReport(
        mean=none,
        any_class=none,
        by_class={},
        by_group={},
        threshold=0.5,
        precision=1.0,
        recall=1.0,
        f1=1.0,
        count=CountReport(1, 1, 0.0, 0.0, 0.0),
        images=tuple(str(number) for number in range(len(counts))),
        counts_by_class={name: counts},
    )


def judged_in(services: Services, project: int, decision: GateDecision, champion: str) -> None:
    """Have a run of a project end with a decision about its champion."""
    run = services.runs.open(project, 3, "button")
    assert run is not None
    services.runs.start(run.id)
    versions = {"candidate": "v2", "champion": champion}
    assert services.runs.finish(run.id, "refused", decision=decision, **versions)
