"""What a run does with its candidate, where people choose other champions meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from backend.learning import promoting
from backend.learning.progress import Reporter
from backend.services import Services
from backend.store.runs import Run
from model.classical.detector import CLASSICAL_ID
from model.errors import ChampionChanged, TrainingCancelled
from model.keeping.starter import STARTER_ID
from model.labels.examples import DatasetSnapshot
from model.versions import GateDecision, ModelVersion
from preprocessing.groups import ContrastGroups
from tests.backend.conftest import PUSH, waiting


@dataclass
class Judgements:
    """Judgements of the candidate of a run, which take minutes, by a gate that a test answers for.

    Attributes
    ----------
    beside
        The champions that the candidate was judged beside.
    passes
        Whether it passes beside one.
    meanwhile
        What happens during a judgement, told its number from 1 on.
    shows_others
        Whether other boxes of the version that serves are shown from then on.
    chosen_for
        The versions whose shown boxes were chosen.
    """

    services: Services
    run: Run
    beside: list[str] = field(default_factory=list)
    passes: Callable[[str], bool] = lambda champion: True
    meanwhile: Callable[[int], object] = lambda number: None
    shows_others: bool = False
    chosen_for: list[str] = field(default_factory=list)

    def version(self, id: str) -> ModelVersion:
        made = ModelVersion(id, "trained", ("Cell",), 0.5)
        return self.services.registry.add(made, ContrastGroups.none(), None)

    def promote(self, id: str) -> ModelVersion:
        return self.services.registry.promote(str(self.run.project), id)

    def decided(self) -> tuple[str, GateDecision, list[str]]:
        """Return the champion judged beside, the decision, and the notes."""
        candidate, report = self.version("trained-x"), Reporter(self.services.runs, self.run.id)
        empty = DatasetSnapshot((), ("Cell",))
        judged = promoting.let_the_better_serve(self.services, self.run, candidate, empty, report)
        return *judged, report.notes

    def judge(self, _: Any, __: int, ___: Any, champion: ModelVersion, *rest: Any) -> GateDecision:
        self.beside.append(champion.id)
        self.meanwhile(len(self.beside))
        return GateDecision(self.passes(champion.id), (f"beside {champion.id}",))

    def show(self, *told: Any) -> bool:
        told[-1](f"what is shown, {len(self.beside)}")
        self.chosen_for.append(told[2].id)
        return self.shows_others

    @property
    def served(self) -> list[str]:
        history = self.services.registry.history(str(self.run.project))
        return [change.champion for change in history]


@pytest.fixture
def judgements(services: Services, project: int, monkeypatch: pytest.MonkeyPatch) -> Judgements:
    opened = services.runs.open(project, 5, "button")
    run = opened and services.runs.start(opened.id)
    assert run is not None
    made = Judgements(services, run)
    monkeypatch.setattr(promoting, "judge_beside_champion", made.judge)
    monkeypatch.setattr(promoting, "show_least_work", made.show)
    return made


def test_a_run_that_is_cancelled_while_it_is_judged_decides_nothing(
    judgements: Judgements, services: Services
) -> None:
    judgements.meanwhile = lambda _: services.runs.finish(judgements.run.id, "cancelled")
    with pytest.raises(TrainingCancelled):
        judgements.decided()
    assert services.registry.get("trained-x").decision is None
    assert judgements.served == []


@pytest.mark.parametrize("is_better", [True, False])
def test_a_candidate_is_judged_once_more_where_another_version_serves_meanwhile(
    judgements: Judgements, services: Services, is_better: bool
) -> None:
    other = judgements.version("trained-y")
    judgements.meanwhile = lambda _: judgements.promote(other.id)
    judgements.passes = lambda champion: champion == CLASSICAL_ID or is_better
    champion, decision, notes = judgements.decided()
    assert judgements.beside == [CLASSICAL_ID, other.id]
    assert (champion, decision.promoted) == (other.id, is_better)
    assert decision.reasons == (f"beside {other.id}",)
    again = "The candidate was judged once more: trained-y serves project 1 by now, not classical-1"
    assert notes == [again, "what is shown, 2"], "of the first judgement nothing is told"
    assert services.registry.get("trained-x").decision == decision
    assert judgements.served == [other.id, "trained-x"][: 1 + is_better]
    assert judgements.chosen_for[-1] == judgements.served[-1]


@pytest.mark.parametrize("shows_others", [True, False])
def test_a_champion_that_stays_gives_open_tasks_its_boxes_if_others_are_shown_now(
    judgements: Judgements, services: Services, shows_others: bool
) -> None:
    judgements.passes, judgements.shows_others = lambda champion: False, shows_others
    judgements.decided()
    assert waiting(services, PUSH) == [f"{PUSH}-1-{CLASSICAL_ID}"] * shows_others


def test_a_project_of_an_earlier_releases_starter_is_judged_beside_todays_once(
    judgements: Judgements,
) -> None:
    judgements.promote("starter-1")
    champion, decision, _ = judgements.decided()
    assert (champion, decision.promoted) == (STARTER_ID, True)
    assert judgements.beside == [STARTER_ID]
    assert judgements.served == ["starter-1", "trained-x"]


def test_a_candidate_is_not_judged_for_ever(judgements: Judgements) -> None:
    others = [judgements.version(f"trained-{n}").id for n in range(promoting.MOST_JUDGEMENTS)]
    judgements.meanwhile = lambda number: judgements.promote(others[number - 1])
    with pytest.raises(ChampionChanged, match=f"{others[-1]} serves project 1 by now"):
        judgements.decided()
    assert judgements.served == others
