"""Serves an image as the champion's detector sees it, to look at beside the raw one."""

from __future__ import annotations

import hashlib

import numpy as np
from flask import Blueprint, Response, request

from backend.errors import NotFound
from backend.http.auth import has_password, require_password
from backend.http.parts import parts
from backend.numbers import number_of, project_number
from backend.signing import KEY, is_key
from preprocessing.groups import ContrastGroups
from preprocessing.images import encode_png, read_image
from preprocessing.prepare import prepare

matched = Blueprint("matched", __name__, url_prefix="/images/<int:project_id>/<sha256>")


@matched.get("/matched.png")
def matched_image(project_id: int, sha256: str) -> Response:
    """Send an image matched by the project's contrast groups, pixel for pixel like the raw one.

    ``?page=`` of a multi-page file; ``?key=`` in place of the password (see ``backend.signing``).
    """
    page = number_of(request.args.get("page", 0), "page")
    _require_key_or_password(project_id, sha256, page)
    services = parts().services
    if services.images.get(project_number(project_id), sha256, page) is None:
        raise NotFound(f"Project {project_id} has no image {sha256[:64]} (page {page}).")
    groups = parts().slot.current(str(project_id)).loaded.groups
    answer, tag = Response(content_type="image/png"), _tag(groups, sha256, page)
    answer.set_etag(tag)
    # A promotion changes what the address shows: browsers ask each time, and get it only if
    # changed.
    answer.headers["Cache-Control"] = "private, no-cache"
    # Label Studio's page fetches by script; anybody with the address may see the image anyway.
    answer.headers["Access-Control-Allow-Origin"] = "*"
    if request.if_none_match.contains(tag):
        answer.status_code = 304
        return answer
    answer.data = _render(groups, sha256, page)
    return answer


def _require_key_or_password(project: int, sha256: str, page: int) -> None:
    secret = parts().services.credentials.webhook_secret
    given = request.args.get(KEY, "")
    if not is_key(given, secret, project, sha256, page) and not has_password(request):
        require_password()  # its error says what is missing


def _render(groups: ContrastGroups, sha256: str, page: int) -> bytes:
    image = read_image(parts().services.images.path(sha256), page, sha256)
    pixels = prepare(image, groups).pixels
    return encode_png(np.rint(pixels * 255).astype(np.uint8))


def _tag(groups: ContrastGroups, sha256: str, page: int) -> str:
    return hashlib.sha256(f"{groups.sha256}/{sha256}/{page}".encode()).hexdigest()[:32]
