"""Downloads: VOC boxes and counts of a project."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from flask import Blueprint, Response, request, send_file

from backend.datasets.export import export_counts, export_voc
from backend.http.auth import require_password
from backend.http.parts import parts
from backend.numbers import project_number
from backend.store.projects import Project

exports = Blueprint("exports", __name__, url_prefix="/projects/<int:project_id>/export")
exports.before_request(require_password)


@exports.get("/voc")
def voc(project_id: int) -> Response:
    """Send a zip of one VOC file for each corrected image.

    ``?one_based=1``: for tools that count from one; ``?predicted=1``: also images that nobody
    corrected; ``?images=1``: with the raw files.
    """
    services = parts().services
    project = services.projects.get(project_number(project_id))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "voc.zip"
        export_voc(
            services,
            project_id,
            out,
            one_based=_asked("one_based"),
            corrected_only=not _asked("predicted"),
            with_images=_asked("images"),
        )
        return _sent(out, f"{_file_name(project)}-voc.zip", "application/zip")


@exports.get("/counts")
def counts(project_id: int) -> Response:
    """Send a table with one row for each image and class."""
    services = parts().services
    project = services.projects.get(project_number(project_id))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts.csv"
        export_counts(services, project_id, out)
        return _sent(out, f"{_file_name(project)}-counts.csv", "text/csv")


def _asked(option: str) -> bool:
    return request.args.get(option, "") in ("1", "true", "yes")


def _sent(path: Path, name: str, kind: str) -> Response:
    # Opened before the folder is removed: the file lives until it is closed after the last byte.
    answer = send_file(path.open("rb"), kind, as_attachment=True, download_name=name)
    answer.content_length = path.stat().st_size
    return answer


def _file_name(project: Project) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", project.title).strip("-") or f"project-{project.id}"
