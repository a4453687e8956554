"""The runs over HTTP: list them, show one, end or repeat one."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from backend.http.auth import require_password
from backend.http.parts import parts
from backend.learning import triggers
from backend.numbers import number_of, project_number

runs = Blueprint("runs", __name__, url_prefix="/runs")
runs.before_request(require_password)

Json = dict[str, Any]


@runs.get("")
def listed() -> Json:
    """List the runs of a project (``?project=``), or of all, newest first."""
    asked = request.args.get("project")
    project = None if asked is None else project_number(asked)
    return {"runs": [run.to_json() for run in parts().services.runs.all(project)]}


@runs.get("/<int:number>")
def shown(number: int) -> Json:
    """Say how one run stands: its state, steps, loss, AP50 and remaining time."""
    return parts().services.runs.get(number_of(number, "run")).to_json()


@runs.post("/<int:number>/cancel")
def cancelled(number: int) -> Json:
    """End a run that waits or runs."""
    return triggers.cancel(parts().services, number_of(number, "run")).to_json()


@runs.post("/<int:number>/retry")
def retried(number: int) -> tuple[Json, int]:
    """Open another attempt at the milestone of a run that has ended."""
    return triggers.retry(parts().services, number_of(number, "run")).to_json(), 201
