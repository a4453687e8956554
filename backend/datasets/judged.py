"""Counts of the images that judged a project's versions; they give other images' counts a range."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from backend.services import Services
from model.reports import Counts

#: By class, predicted and true counts of images.
JudgedCounts = Mapping[str, Counts]


def judged_counts(services: Services, project: int) -> dict[str, JudgedCounts]:
    """Return the counts of each version judged in a project, from its newest judgement.

    Only images that the version has not learned from are included.
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
