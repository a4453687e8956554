"""Random histories of an installation: when all falls quiet, the store must be right."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.backend.histories.learning import Learning
from tests.backend.histories.playing import PLACES, PROJECTS, TASKS, boxes_on, one_of, whichever
from tests.backend.histories.studio import BAD_CONFIG

#: The least that happens between two of them.
SELDOM = 8


class Histories(Learning):
    """All the rules."""

    @initialize(corrected=st.tuples(*[st.integers(2, TASKS)] * len(PROJECTS)))
    def begin(self, corrected: tuple[int, ...]) -> None:
        for project, number in zip(PROJECTS, corrected, strict=True):
            for task in range(number):
                self.annotate(project, task, boxes_on(PLACES[:1], "Cell"), skipped=False)

    @precondition(lambda self: self.since_quiet >= SELDOM)
    @rule(late=st.lists(whichever, max_size=4))
    def all_is_quiet(self, late: list[int]) -> None:
        """Bring everything back, let some late events arrive, and take a look."""
        self.at.bring_redis_back()
        self.worker()
        self.looks()
        for which in late:
            if (event := one_of(self.at.studio.on_the_way, which)) is not None:
                self.at.studio.on_the_way.remove(event)
                self.arrives(event)
        self.looks()
        for project in PROJECTS:
            self._is_right(project)
        self._waiting_runs_have_a_job()
        self.played("quiet")
        self.since_quiet = 0

    def _is_right(self, project: int) -> None:
        truth, services = self.truth(project), self.at.services
        if truth.gone:
            return
        living = {a["id"]: a["task"] for a in truth.annotations()}
        assert services.annotations.known(project) == living
        corrected = {a["task"] for a in truth.annotations() if not a["was_cancelled"]}
        assert {a.task for a in services.annotations.corrected(project)} == corrected
        assert services.images.known_tasks(project) <= truth.tasks.keys()
        if truth.label_config != BAD_CONFIG:
            assert services.projects.get(project).label_config == truth.label_config
        assert self.model[project].due is None, "a milestone was skipped"

    def _waiting_runs_have_a_job(self) -> None:
        unfinished = self.at.services.runs.unfinished()
        assert {run.state for run in unfinished} <= {"queued"}, "nobody works, and a run goes on"
        jobs = self.at.waiting()
        assert len(set(jobs)) == len(jobs), "a run has two jobs"
        assert {f"{self.at.learn}-{run.id}" for run in unfinished} <= set(jobs), (
            "a run was forgotten"
        )
