"""Addresses that open one thing to whoever has them, for browsers that cannot send a password.

An <Image> on Label Studio's page is loaded by the annotator's browser, which knows neither the
backend's password nor its secrets. So the address carries a key, made of what it names and the
webhook secret. Nobody can guess a key, and it opens nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.services import Services

KEY = "key"


def matched_address(services: Services, project: int, sha256: str, page: int) -> str:
    """Return the whole address of a matched image, for browsers."""
    path = matched_path(services.credentials.webhook_secret, project, sha256, page)
    return services.settings.browser_address + path


def matched_path(secret: str, project: int, sha256: str, page: int) -> str:
    """Return the path and query of the matched image of a raw file's page."""
    path = f"/images/{project}/{sha256}/matched.png"
    return f"{path}?page={page}&{KEY}={key_of(secret, project, sha256, page)}"


def key_of(secret: str, project: int, sha256: str, page: int) -> str:
    """Return the key of a matched image: hex, valid for one project, file and page only."""
    named = f"matched/{project}/{sha256}/{page}".encode()
    return hmac.new(secret.encode(), named, hashlib.sha256).hexdigest()


def is_key(given: str, secret: str, project: int, sha256: str, page: int) -> bool:
    """Return whether a request's key is right, in constant time."""
    right = key_of(secret, project, sha256, page)
    return bool(secret) and hmac.compare_digest(given.encode(), right.encode())
