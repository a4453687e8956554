"""The page for people: how each project stands, in words."""

from __future__ import annotations

from flask import Blueprint, render_template

from backend.effort.costing import without_breaks
from backend.effort.measuring import champion_now, measure
from backend.effort.tally import made_by_people, work_of
from backend.effort.wording import work_lines
from backend.http.auth import require_password
from backend.http.overview import ProjectOverview, overview_of
from backend.http.parts import parts
from backend.services import Services
from model.wording import counted

dashboard = Blueprint("dashboard", __name__)
dashboard.before_request(require_password)


@dashboard.get("/")
def page() -> str:
    """Show every project."""
    shared = parts()
    services = shared.services
    views = [overview_of(shared, project) for project in services.projects.all()]
    return render_template(
        "dashboard.html",
        projects=views,
        work={view.project.id: _work_lines(services, view) for view in views},
        label_studio=services.label_studio_for_browsers,
        counted=counted,
    )


def _work_lines(services: Services, view: ProjectOverview) -> list[tuple[str, str]]:
    made = without_breaks(made_by_people(measure(services, view.project.id)))
    return work_lines(work_of(made, champion_now(services, view.project.id)))
