"""The page for people: how each project stands, in words."""

from __future__ import annotations

from flask import Blueprint, render_template

from backend.http.auth import require_password
from backend.http.overview import overview_of
from backend.http.parts import parts

dashboard = Blueprint("dashboard", __name__)
dashboard.before_request(require_password)


@dashboard.get("/")
def page() -> str:
    """Show every project."""
    shared = parts()
    projects = [overview_of(shared, project) for project in shared.services.projects.all()]
    return render_template(
        "dashboard.html", projects=projects, label_studio=shared.services.label_studio.url
    )
