"""Turns errors into HTTP answers for all views: what went wrong and what to do."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from flask import Flask, Response, jsonify, request
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from backend.errors import (
    BackendError,
    BadLabelConfig,
    BadRequest,
    LabelStudioError,
    NotFound,
    QueueError,
    Refused,
    Unauthorised,
)
from backend.http.errors import FromAnotherSite
from backend.serving.errors import NotReady
from backend.store import mending
from model.errors import ModelError, VersionNotFound
from preprocessing.errors import PreprocessingError

log = structlog.get_logger(__name__)

#: Flask takes the nearest class in an error's MRO, whatever the order here. The messages of these
#: errors say what to do; they are sent unchanged.
STATUSES: dict[type[Exception], int] = {
    Unauthorised: 401,
    FromAnotherSite: 403,
    BadLabelConfig: 400,
    BadRequest: 400,
    PreprocessingError: 400,
    NotFound: 404,
    Refused: 409,
    VersionNotFound: 404,
    LabelStudioError: 502,
    QueueError: 503,
    NotReady: 503,
    BackendError: 500,
    ModelError: 500,
}


def answer_with_problems(app: Flask) -> None:
    """Make an app answer errors as ``{"error": …, "status": …}``."""
    for kind, status in STATUSES.items():
        app.register_error_handler(kind, _handler(status))
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(SQLAlchemyError, _store_problem)
    app.register_error_handler(Exception, _unexpected)


def _handler(status: int) -> Callable[[Exception], Response]:
    return lambda error: _told(str(error), status)


def _told(said: str, status: int) -> Response:
    log.warning("http.problem", path=request.path, status=status, reason=said)
    answer = _problem(said, status)
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Basic realm="Cytoloop"'
    if status == 503:
        answer.headers["Retry-After"] = "5"
    return answer


def _http_problem(error: HTTPException) -> Response:
    return _problem(error.description or error.name, error.code or 500)


def _store_problem(error: SQLAlchemyError) -> Response:
    if said := mending.in_words(error):
        return _told(said, 503 if mending.is_away(error) else 500)
    return _unexpected(error)


def _unexpected(error: Exception) -> Response:
    log.exception("http.unexpected", path=request.path)
    said = f"Something went wrong inside Cytoloop ({type(error).__name__}); its log says more."
    return _problem(said, 500)


def _problem(said: str, status: int) -> Response:
    answer = jsonify({"error": said, "status": status})
    answer.status_code = status
    return answer
