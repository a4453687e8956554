from __future__ import annotations

from backend.replay.outcomes import Outcomes
from backend.services import Services
from model.judging.policy import Policy


def end_run(services: Services, project: int, corrected: int, shown_from: float) -> None:
    run = services.runs.open(project, corrected, "milestone")
    assert run is not None
    champion = services.registry.champion(str(project))
    services.runs.start(run.id)
    services.runs.freeze(run.id, f"{corrected:064x}", corrected, [])
    policy = Policy(champion.threshold, shown_from)
    services.registry.set_policy(str(project), champion, lambda _: policy)
    services.runs.finish(run.id, "refused")


def test_each_run_has_an_outcome_of_its_own_that_outlives_the_process(
    services: Services, project: int
) -> None:
    outcomes = Outcomes(services, project)
    end_run(services, project, 5, shown_from=0.3)
    outcomes.keep()
    end_run(services, project, 10, shown_from=0.2)  # and killed before its outcome was kept
    again = Outcomes(services, project)
    champion = services.registry.champion(str(project))
    # Of a run that was cut off.
    services.registry.set_policy(str(project), champion, lambda _: Policy(0.9))
    for known in (again, Outcomes(services, project)):
        shown = [known.at(corrected).policy.shown_from for corrected in (-1, 4, 5, 9, 10, 12)]
        assert shown == [None, None, 0.3, 0.3, 0.2, 0.2]
