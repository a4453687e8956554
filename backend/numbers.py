"""Reads the numbers in requests by which Label Studio and the store identify things."""

from __future__ import annotations

import re

from backend.errors import BadRequest

#: Ids and pages are below this, the limit of PostgreSQL's integers.
NUMBERS_END = 2**31


def project_number(project: object) -> int:
    """Return the project's id: the number before the dot in ``"1.1795529967"``.

    Raises
    ------
    BadRequest
        It is something else.
    """
    return number_of(str(project).partition(".")[0], "project")


def number_of(given: object, name: str) -> int:
    """Return a number from a request, such as an id, if the store could have it.

    Raises
    ------
    BadRequest
        It is something else.
    """
    digits = str(given)
    if not re.fullmatch("[0-9]{1,10}", digits) or int(digits) >= NUMBERS_END:
        raise BadRequest(f'"{name}" is {repr(given)[:40]}, not a whole number below {NUMBERS_END}')
    return int(digits)
