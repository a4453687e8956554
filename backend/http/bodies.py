"""JSON that comes in."""

from __future__ import annotations

from typing import Any

from flask import request

from backend.errors import BadRequest


def json_body() -> dict[str, Any]:
    """Return the request's JSON object.

    Raises
    ------
    BadRequest
        There is no body, it is broken, or it is no object.
    """
    if not request.get_data(cache=True):
        raise BadRequest("The request has no body; a JSON object was expected")
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError as error:
        raise BadRequest("The body is nested too deep to be one of Label Studio's") from error
    if not isinstance(body, dict):
        raise BadRequest("The body is not a JSON object")
    return body
