"""The rules of what happens beside the trainings: looks, restarts, Redis, and the button."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from hypothesis.stateful import rule

from backend.errors import BackendError, QueueError
from backend.learning import triggers
from backend.store.runs import PROMOTING, Run
from model.classical.detector import CLASSICAL_ID
from tests.backend.histories.expected import MOST_KILLS, Expected, Stage
from tests.backend.histories.playing import (
    PROJECTS,
    Draws,
    Model,
    Playing,
    among,
    draws,
    few,
    many,
    one_of,
    projects,
    whichever,
)


class Looking(Playing):
    """The poll, and the parts that come and go."""

    @rule(draw=draws, how=among(whole=3, killed=1, studio_goes_away=1))
    def look(self, draw: Draws, how: str) -> None:
        if how == "killed":
            self.looks(left=draw.draw(many))
            self.at.restart_web()
        else:
            self.at.studio.answers = draw.draw(few) if how == "studio_goes_away" else None
            self.looks()
            self.at.studio.answers = None
        self.played(f"look {how}")

    def looks(self, left: int | None = None) -> None:
        seen, before = self._foresee_look(), self.foreseen()
        lived = self.survives(self.at.poll.look, left)
        whole = lived and self.at.studio.answers is None
        self.given_up(seen)
        self.is_now(*([seen] if whole else [before, seen]))

    def _foresee_look(self) -> Model:
        model = self.foreseen()
        for id in PROJECTS:
            if model[id].compare(self.truth(id)):
                model[id].open_due()
            elif model[id].gone:
                self.end_runs(model[id], id)
        alive = [run for run in self._running() if _stage(model, run).is_active]
        self._take_up(model, [run for run in alive if not self._has_job(run)])
        return model

    def end_runs(self, expected: Expected, project: int) -> None:
        """End the runs of a project that is gone, except one that may be champion by now."""
        for run in self.at.services.runs.all(project):
            key = run.milestone, run.attempt
            if expected.runs[key].is_active and run.stage != PROMOTING:
                expected.end(key, "cancelled")

    def _running(self) -> list[Run]:
        """Return the runs that count as running; between rules none is worked on."""
        unfinished = self.at.services.runs.unfinished()
        return [run for run in unfinished if run.state == "running" and run.id != self.learning]

    def _has_job(self, run: Run) -> bool:
        return self.at.is_redis_away or self.at.services.queue.is_live(run.id)

    def _take_up(self, model: Model, runs: Sequence[Run]) -> None:
        for run in runs:
            self.kills[run.id] += 1
            model[run.project].end((run.milestone, run.attempt), "queued")

    def given_up(self, model: Model) -> None:
        """Allow that a run killed again and again is not taken up once more."""
        for id, kills in self.kills.items():
            run = self.at.services.runs.get(id)
            if run.state == "failed" and kills >= MOST_KILLS:
                model[run.project].end((run.milestone, run.attempt), "failed")

    # Processes and Redis

    @rule(part=among(web=1, worker=2, redis_flushed=1, redis=2))
    def part(self, part: str) -> None:
        if self.at.is_redis_away:
            self.at.bring_redis_back()
            self.played("Redis back")
        elif part == "redis":
            self.at.send_redis_away()
            self.played("Redis away")
        else:
            getattr(self, part)()

    def web(self) -> None:
        with suppress(QueueError):
            triggers.requeue_pending(self.at.services)
        self.at.restart_web()
        self.played("web restarted")

    def worker(self) -> None:
        model = self.foreseen()
        self._take_up(model, self._running())
        self.at.start_worker()
        self.given_up(model)
        self.is_now(model)
        self.worker_is_up = True
        self.played("worker started")

    def redis_flushed(self) -> None:
        self.at.redis.flushall()
        self.played("Redis flushed")

    # People

    @rule(draw=draws, wish=among(press=2, cancel=1, retry=3))
    def person(self, draw: Draws, wish: str) -> None:
        getattr(self, wish)(draw)

    def press(self, draw: Draws) -> None:
        project, model = draw.draw(projects), self.foreseen()
        if not model[project].has_active:
            model[project].open_attempt(model[project].corrected)
            self.played("button pressed")
        with suppress(QueueError):
            triggers.start_training(self.at.services, project)
        self.is_now(model)

    def cancel(self, draw: Draws) -> None:
        if run := one_of(self.at.services.runs.unfinished(), draw.draw(whichever)):
            model = self.foreseen()
            if run.stage != PROMOTING:
                model[run.project].end((run.milestone, run.attempt), "cancelled")
            with suppress(BackendError):
                triggers.cancel(self.at.services, run.id)
            self.is_now(model)
            self.champion_was_promoted(run.project)
            self.played("cancelled")

    def champion_was_promoted(self, project: int) -> None:
        champion = self.at.services.registry.champion(str(project)).id
        runs = self.at.services.runs.all(project)
        made = [run.state for run in runs if run.candidate == champion]
        kept = champion == CLASSICAL_ID or {"promoted", "queued", "running"}.intersection(made)
        assert kept, f"the champion is of a run that ended as {made}"

    def retry(self, draw: Draws) -> None:
        if run := one_of(self.at.services.runs.all(), draw.draw(whichever)):
            model = self.foreseen()
            if not model[run.project].has_active:
                model[run.project].open_attempt(run.milestone)
                self.played("tried again")
            with suppress(BackendError):
                triggers.retry(self.at.services, run.id)
            self.is_now(model)


def _stage(model: Model, run: Run) -> Stage:
    return model[run.project].runs[run.milestone, run.attempt]
