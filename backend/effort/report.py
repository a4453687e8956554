"""Reports how much work a project's boxes were, and what more labelling may save."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from backend.actions import Costs
from backend.effort.costing import measured_costs, without_breaks
from backend.effort.forecasting import Forecast, ImageWork, forecast
from backend.effort.measuring import measure
from backend.effort.tally import Tally, Watchfulness, Work, made_by_people, tallies, work_of
from backend.milestones import upcoming_milestones
from backend.services import Services
from backend.store.corrections import Correction
from backend.store.projects import Project
from backend.store.runs import Run
from model.judging.policy import version_of

#: How many milestones to look ahead for the one from which nothing more is saved.
LOOKED_AHEAD = 40
BY_HAND = "drawn by hand"


@dataclass(frozen=True)
class EffortReport:
    """What the corrections of one project show.

    Parameters
    ----------
    work
        All corrections that people made.
    by_version
        The same by version; a version is named with its policy, as it was served.
    by_annotator, by_group
        The images that opened with boxes, by annotator and by contrast group; by annotator only
        those that one annotator alone worked on.
    costs, timed
        Seconds of each action, fitted to the corrections, and the number of images whose time is
        known.
    imported
        The number of annotations made outside any page: imported with their boxes, or predictions
        accepted for many tasks at once. No figure here includes them.
    watched
        By annotator, what was found in images that opened blank or with a fault and that nobody
        else worked on. No other figure includes these images.
    reviewed
        The number of annotations last changed by somebody else than their annotator; no annotator's
        figures include them.
    forecast
        What the next milestone is expected to bring, or why there is no forecast.
    """

    project: Project
    work: Work
    by_version: dict[str, Tally]
    by_annotator: dict[str, Tally]
    by_group: dict[str, Tally]
    costs: Costs
    timed: int
    imported: int
    watched: dict[str, Watchfulness]
    reviewed: int
    forecast: Forecast | str

    @property
    def doubts(self) -> int:
        """The number of boxes whose ``origin`` in Label Studio contradicts the comparison."""
        made = (*self.work.total.corrections, *self.work.by_hand.corrections)
        return sum(c.doubts for c in made)

    def to_json(self) -> dict[str, Any]:
        by_hand = self.work.seconds_by_hand
        parts = {
            name: {key: tally.to_json(by_hand) for key, tally in getattr(self, name).items()}
            for name in ("by_version", "by_annotator", "by_group")
        }
        return {
            "project": self.project.id,
            "title": self.project.title,
            "by_hand_seconds_per_cell": vars(by_hand),
            **self.work.to_json(),
            **parts,
            "costs": {
                "images": self.timed,
                "measured": {name: round(s, 4) for name, s in vars(self.costs).items()},
                "assumed": vars(Costs()),
            },
            "imported": self.imported,
            "reviewed": self.reviewed,
            "doubts": self.doubts,
            "watched": {name: found.to_json() for name, found in self.watched.items()},
            **self._forecast_json(),
        }

    def _forecast_json(self) -> dict[str, Any]:
        if isinstance(self.forecast, str):
            return {"forecast": None, "no_forecast": self.forecast}
        return {"forecast": self.forecast.to_json()}


def effort_of(services: Services, project: int) -> EffortReport:
    """Read all corrections, and compare those that are not compared yet.

    Raises
    ------
    NotFound
        There is no such project.
    """
    owner = services.projects.get(project)
    known = measure(services, project)
    names = services.annotators.names()

    def annotator_of(correction: Correction) -> str:
        return names.get(correction.annotator, correction.annotator) or "unknown"

    made = without_breaks(made_by_people(known))
    champion = services.champion_now(project)
    work = work_of(made, champion)
    with_boxes = work.total.corrections
    watched = [c for c in known if c.watched]
    return EffortReport(
        project=owner,
        work=work,
        by_version=tallies(made, lambda c: c.served or BY_HAND),
        by_annotator=tallies(_by_one(with_boxes), annotator_of),
        by_group=tallies(with_boxes, lambda c: c.contrast_group or "not known"),
        costs=measured_costs(made),
        timed=len({c.task for c in made if c.seconds}),
        imported=sum(c.start == "import" for c in known),
        watched={
            name: Watchfulness(part.corrections)
            for name, part in tallies(_by_one(watched), annotator_of).items()
        },
        reviewed=sum(c.is_reviewed for c in (*with_boxes, *watched)),
        forecast=_forecast(services, owner, champion, with_boxes),
    )


def _by_one(corrections: Iterable[Correction]) -> Iterator[Correction]:
    return (c for c in corrections if not c.is_reviewed)


def images_learned_from(runs: Iterable[Run]) -> dict[str, int]:
    """Return, by each run's candidate, the number of corrected images when it learned."""
    return {run.candidate: run.corrected or run.milestone for run in runs if run.candidate}


def _forecast(
    services: Services, project: Project, champion: str, made: tuple[Correction, ...]
) -> Forecast | str:
    runs = services.runs.all(project.id)
    learned_from = images_learned_from(runs)
    images: defaultdict[int, dict[int, ImageWork]] = defaultdict(dict)
    for correction in made:
        of_version = images[learned_from.get(version_of(correction.served), 0)]
        others = of_version.get(correction.task, ImageWork(0, 0))  # of all who worked on the image
        of_version[correction.task] = ImageWork(
            others.actions + correction.actions.number, others.cells + correction.cells
        )
    by_milestone = {milestone: tuple(works.values()) for milestone, works in images.items()}
    coming = tuple(islice(_upcoming(services, project), LOOKED_AHEAD))
    return forecast(by_milestone, learned_from.get(champion, 0), coming)


def _upcoming(services: Services, project: Project) -> Iterator[int]:
    corrected = services.annotations.corrected_count(project.id)
    step, done = services.settings.milestone_step, services.runs.milestones_done(project.id)
    return upcoming_milestones(corrected, project.milestones, step, done)
