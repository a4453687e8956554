"""Tells whether a server answers."""

from __future__ import annotations

import requests

TIMEOUT_S = 2.0


def answers(url: str) -> bool:
    """Tell whether a GET is answered with success."""
    try:
        return requests.get(url, timeout=TIMEOUT_S).ok
    except requests.RequestException:
        return False
