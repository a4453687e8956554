from __future__ import annotations

from flask.testing import FlaskClient

from backend.services import Services
from backend.store.runs import Run


def opened(services: Services, milestone: int = 5) -> Run:
    run = services.runs.open(1, milestone, "milestone")
    assert run is not None
    return run


def test_runs_are_listed_with_their_numbers(
    client: FlaskClient, services: Services, project: int
) -> None:
    run = opened(services)
    begun = services.runs.start(run.id)
    assert begun is not None
    assert begun.started_at is not None
    services.runs.progress(run.id, iteration=3, iterations=9, loss=0.5, ap50=0.7, seconds_left=6.0)
    [listed] = client.get("/runs?project=1").json["runs"]
    assert listed == client.get(f"/runs/{run.id}").json
    moments = (listed["started_at"], listed["finished_at"])
    assert moments == (begun.started_at.isoformat(), None)
    numbers = {k: listed[k] for k in ("iteration", "iterations", "loss", "ap50", "seconds_left")}
    assert numbers == {
        "iteration": 3,
        "iterations": 9,
        "loss": 0.5,
        "ap50": 0.7,
        "seconds_left": 6.0,
    }
    assert client.get("/runs?project=2").json["runs"] == []


def test_a_run_is_cancelled_and_tried_again(
    client: FlaskClient, services: Services, project: int
) -> None:
    run = opened(services)
    assert client.post(f"/runs/{run.id}/retry").status_code == 409
    assert client.post(f"/runs/{run.id}/cancel").json["state"] == "cancelled"
    assert client.post(f"/runs/{run.id}/cancel").status_code == 409
    again = client.post(f"/runs/{run.id}/retry")
    assert (again.status_code, again.json["attempt"]) == (201, 2)


def test_a_run_that_is_not_there_is_404(client: FlaskClient, project: int) -> None:
    for answer in (client.get("/runs/7"), client.post("/runs/7/cancel")):
        assert answer.status_code == 404


def test_runs_need_the_password(stranger: FlaskClient, services: Services, project: int) -> None:
    run = opened(services)
    assert stranger.get("/runs").status_code == 401
    assert stranger.post(f"/runs/{run.id}/cancel").status_code == 401
    assert services.runs.get(run.id).is_active
