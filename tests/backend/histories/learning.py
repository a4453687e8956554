"""The rules of the worker: runs begun, cut off, taken up and ended, and what they learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from rq.job import Job

from backend import jobs
from backend.learning import triggers
from backend.learning.snapshots import snapshot_file
from backend.store.runs import Run
from model.labels.examples import DatasetSnapshot
from tests.backend.histories.deaths import CHANGES
from tests.backend.histories.expected import Expected, observed
from tests.backend.histories.frozen import check_frozen
from tests.backend.histories.labelling import Labelling
from tests.backend.histories.looking import Looking
from tests.backend.histories.playing import Draws, among, draws, few, many
from tests.backend.histories.studio import BAD_CONFIG

#: How a run goes, and how often.
WAYS = {"alone": 3, "killed": 6, "away": 2, "of_no_project": 2}
MEANWHILE = {"corrected": 2, "cancelled": 2, "twice": 2}


class Learning(Labelling, Looking):
    """The worker."""

    def __init__(self) -> None:
        super().__init__()
        #: For runs that began, the hash of what they learn from.
        self.frozen: dict[int, str] = {}
        self.learned: set[tuple[int, str]] = set()
        self.sides: dict[tuple[int, str], str] = {}

    @precondition(lambda self: self.worker_is_up and not self.at.is_redis_away)
    @rule(draw=draws, beside=among(**WAYS, **MEANWHILE))
    def job(self, draw: Draws, beside: str) -> None:
        """Work on the job that has waited longest; if none waits, the button opens one."""
        if not self.at.waiting():
            self.submit(draw)
            self.press(draw)
        doing = getattr(self, beside)
        if beside in MEANWHILE:
            state = self._work(better=True, meanwhile=lambda: doing(draw))
        else:
            state = doing(draw)
        if state:
            self.played(f"run {beside}")
            self.ends[state] += 1

    def alone(self, draw: Draws) -> str:
        return self._work(draw.draw(st.booleans()))

    def killed(self, draw: Draws) -> str:
        change = draw.draw(st.sampled_from((*CHANGES, None)))
        left = draw.draw(many) if change is None else change
        better = change is not None or draw.draw(st.booleans())
        state = self._work(better, left, horse_alone=draw.draw(st.booleans()))
        if draw.draw(st.integers(0, 2)) == 0:
            self.cancel(draw)
        return state

    def away(self, draw: Draws) -> str:
        self.at.studio.answers = draw.draw(few)
        state = self._work(draw.draw(st.booleans()))
        self.at.studio.answers = None
        return state

    def of_no_project(self, draw: Draws) -> str:
        """Work while the projects are deleted, or nobody can draw boxes in them."""
        truths = self.at.studio.truths
        before = {id: replace(truth) for id, truth in truths.items()}
        for truth in truths.values():
            truth.gone = draw.draw(st.booleans())
            truth.label_config = BAD_CONFIG
        state = self._work(draw.draw(st.booleans()))
        truths |= before
        return state

    def corrected(self, draw: Draws) -> None:
        self.submit(draw)
        while self.at.studio.on_the_way:
            self.arrives(self.at.studio.on_the_way.pop())

    def cancelled(self, _draw: Draws) -> None:
        model, run = self.foreseen(), self.at.services.runs.get(self.learning or 0)
        model[run.project].end((run.milestone, run.attempt), "cancelled")
        triggers.cancel(self.at.services, run.id)
        self.is_now(model)

    def twice(self, _draw: Draws) -> None:
        jobs.learn(self.learning or 0)
        self.looks()

    def _work(
        self,
        better: bool,
        left: int | str | None = None,
        horse_alone: bool = True,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> str:
        """Work on the next job; return the state of its run afterwards, empty if none waited."""
        if (job := self.at.take_job()) is None:
            return ""
        run = self.at.services.runs.get(job.args[0])
        self.at.training.better = better
        self.at.training.meanwhile = lambda: self._during(run, meanwhile)
        lived = self.survives(lambda: jobs.learn(run.id), left)
        self.learning = None
        self._compare(run, lived, is_over=True)
        if lived:
            self.at.horse_ends(job)
        else:
            self._after_death(run, job, horse_alone)
        return self._now(run).state if run.state == "queued" else ""

    def _during(self, run: Run, meanwhile: Callable[[], None]) -> None:
        if self.at.life.left is None:
            self._compare(run, lived=True, is_over=False)
            self.learning = run.id
            meanwhile()

    def _after_death(self, run: Run, job: Job, horse_alone: bool) -> None:
        self.worker_is_up = horse_alone
        if horse_alone:
            model, key = self.foreseen(), (run.milestone, run.attempt)
            self.kills[run.id] += 1
            if model[run.project].runs[key].is_active:
                model[run.project].end(key, "queued")
            self.at.horse_dies(job)
            self.given_up(model)
            self.is_now(model)

    def _now(self, run: Run) -> Run:
        return self.at.services.runs.get(run.id)

    # The comparison

    def _compare(self, run: Run, lived: bool, is_over: bool) -> None:
        """Compare the store after a run, or while it trains, with what it should have done."""
        now, found = self._now(run), observed(self.at.services, run.project)
        before = self.model[run.project]
        seen = self._seen(run, before, found, lived)
        states = self._states(run, now, seen, is_over)
        wanted = states[-1:] if lived else [seen, *states]
        self.is_now(*({**self.foreseen(), run.project: one} for one in wanted))
        if now.snapshot:
            assert self.frozen.setdefault(run.id, now.snapshot) == now.snapshot
        if now.candidate and now.state in ("promoted", "refused"):
            self.learned.add((run.project, now.snapshot or ""))
        self._nothing_twice(run.project)

    def _seen(self, run: Run, before: Expected, found: Expected, lived: bool) -> Expected:
        """Check what the run asked Label Studio for; return the model that knows it."""
        asked = before.copy()
        if run.id not in self.frozen and before.runs[_key(run)].is_active:
            asked.compare(self.truth(run.project))
        whole = lived and self.at.studio.answers is None
        known = [replace(one, runs=found.runs, champion=found.champion) for one in (asked, before)]
        self.is_as(run.project, found, known[:1] if whole else known)
        return replace(found, runs=before.runs, champion=before.champion).copy()

    def _states(self, run: Run, now: Run, seen: Expected, is_over: bool) -> list[Expected]:
        """Return the states that a run goes through from here, as it was, to its end."""
        if not seen.runs[_key(now)].is_active:  # it was cancelled before, or while it trained
            return [seen]
        states = [seen.copy()]
        states[0].end(_key(now), "running")
        if now.snapshot:
            states.append(states[0].copy())
            if now.id not in self.frozen:
                states[1].freeze(_key(now))
                self._check_snapshot(now, states[1])
            if is_over:
                states.append(self._ended(run, now, states[1]))
        elif is_over:
            states.append(states[0].copy())
            states[1].end(_key(now), self._why_not_begun(now.project))
            if self.truth(now.project).gone:
                self.end_runs(states[1], now.project)
        return states

    def _why_not_begun(self, project: int) -> str:
        return "cancelled" if self.truth(project).gone else "begun"

    def _ended(self, run: Run, now: Run, frozen: Expected) -> Expected:
        snapshot, ended = self._snapshot(now), frozen.copy()
        if self._is_overtaken(run, frozen):
            ended.end(_key(now), "covered")
        elif not snapshot.of_side("held-out") or (now.project, snapshot.sha256) in self.learned:
            ended.end(_key(now), "refused")
        elif now.candidate:
            is_champion = now.candidate == frozen.champion
            better = is_champion or self.at.training.better
            ended.end(_key(now), "promoted" if better else "refused")
            ended.champion = now.candidate if better else frozen.champion
        return ended

    def _is_overtaken(self, run: Run, frozen: Expected) -> bool:
        """Tell whether a cut-off run goes on after one that learned from more."""
        history = self.at.services.registry.history(str(run.project))
        if run.snapshot is None or run.candidate in [change.champion for change in history]:
            return False
        begun = run.started_at
        known = self.at.services.runs.all(run.project)
        later = [one for one in known if begun and one.started_at and one.started_at > begun]
        stages = [frozen.runs[_key(one)] for one in later]
        through = [stage for stage in stages if stage.state in ("promoted", "refused")]
        return any((stage.corrected or 0) > (run.corrected or 0) for stage in through)

    def _snapshot(self, run: Run) -> DatasetSnapshot:
        snapshot = DatasetSnapshot.load(snapshot_file(self.at.services.settings, run.id))
        assert snapshot.sha256 == run.snapshot
        return snapshot

    def _check_snapshot(self, run: Run, frozen: Expected) -> None:
        snapshot, studio = self._snapshot(run), self.at.studio
        check_frozen(self.at.services, run.project, frozen, studio.written, snapshot)
        for image in snapshot.images:
            side = self.sides.setdefault((run.project, image.sha256), image.side)
            assert side == image.side, f"{image.name} was on side {side} and is {image.side} now"

    def _nothing_twice(self, project: int) -> None:
        kept = self.at.services.registry.list(str(project))
        taught = [version.snapshot for version in kept if version.snapshot]
        assert len(set(taught)) == len(taught), "a snapshot was learned from twice"
        history = [c.champion for c in self.at.services.registry.history(str(project))]
        assert len(set(history)) == len(history), "a candidate was promoted twice"


def _key(run: Run) -> tuple[int, int]:
    return run.milestone, run.attempt
