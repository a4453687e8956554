"""How much work a project's boxes were, as JSON."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from backend.effort.report import effort_of
from backend.http.auth import require_password
from backend.http.parts import parts
from backend.numbers import project_number

effort = Blueprint("effort", __name__)
effort.before_request(require_password)


@effort.get("/projects/<int:project_id>/effort")
def of_project(project_id: int) -> dict[str, Any]:
    """Return the same as ``cytoloop effort --json``."""
    return effort_of(parts().services, project_number(project_id)).to_json()
