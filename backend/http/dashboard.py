"""The page for people: how each project stands, in words."""

from __future__ import annotations

from flask import Blueprint, render_template

from backend.effort.actions import BY_HAND_S_PER_CELL
from backend.effort.costing import without_breaks
from backend.effort.measuring import measure
from backend.effort.tally import Tally, made_by_people
from backend.http.auth import require_password
from backend.http.overview import overview_of
from backend.http.parts import parts
from model.wording import counted

dashboard = Blueprint("dashboard", __name__)
dashboard.before_request(require_password)


@dashboard.get("/")
def page() -> str:
    """Show every project."""
    shared = parts()
    services = shared.services
    projects = services.projects.all()
    return render_template(
        "dashboard.html",
        projects=[overview_of(shared, project) for project in projects],
        work={
            p.id: Tally(without_breaks(made_by_people(measure(services, p.id)))) for p in projects
        },
        by_hand=BY_HAND_S_PER_CELL,
        label_studio=services.label_studio_for_browsers,
        counted=counted,
    )
