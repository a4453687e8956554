"""Counts of the images that judged a project's versions: by them those of others have a range."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from backend.services import Services
from model.reports import Counts

#: By class, predicted and true counts of images.
JudgedCounts = Mapping[str, Counts]


def judged_counts(services: Services, project: int) -> dict[str, JudgedCounts]:
    """Return what each version that was judged in a project counted, the last time that it was.

    In images that it has not learned from.
    """
    judged = dict[str, JudgedCounts]()
    for run in services.runs.all(project):
        if run.decision is None:
            continue
        seen: Collection[str] = {each.sha256 for each in run.decision.images if each.is_seen}
        reports = {run.candidate: run.decision.candidate, run.champion: run.decision.champion}
        for version, report in reports.items():
            if version and report:
                judged.setdefault(version, report.counts_without(seen))
    return judged
