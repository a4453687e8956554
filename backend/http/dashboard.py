"""The page for people: how each project stands, in words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import structlog
from flask import Blueprint, render_template

from backend.effort.costing import without_breaks
from backend.effort.measuring import measure
from backend.effort.tally import made_by_people, work_of
from backend.effort.wording import work_lines
from backend.http.auth import require_password
from backend.http.overview import ProjectOverview, overview_of
from backend.http.parts import parts
from backend.services import Services
from model.wording import counted

log = structlog.get_logger(__name__)

Part = TypeVar("Part")

dashboard = Blueprint("dashboard", __name__)
dashboard.before_request(require_password)


@dashboard.get("/")
def page() -> str:
    """Show every project."""
    shared = parts()
    services = shared.services
    projects = services.projects.all()
    views = {p.id: _tried(partial(overview_of, shared, p), p.id) for p in projects}
    work = {id: _tried(partial(_work_lines, services, v), id) for id, v in views.items() if v}
    return render_template(
        "dashboard.html",
        projects=[view for view in views.values() if view],
        work=work,
        broken=[p for p in projects if views[p.id] is None or work[p.id] is None],
        label_studio=services.label_studio_for_browsers,
        counted=counted,
    )


def _tried(read: Callable[[], Part], project: int) -> Part | None:
    """Return a project's part of the page; None if it fails, so that others still show."""
    try:
        return read()
    except Exception:  # outermost: one odd project must not hide the others
        log.exception("dashboard.failed", project=project)
        return None


def _work_lines(services: Services, view: ProjectOverview) -> list[tuple[str, str]]:
    made = without_breaks(made_by_people(measure(services, view.project.id)))
    return work_lines(work_of(made, services.champion_now(view.project.id)))
