"""Addresses that open one thing to whoever has them: for a browser that can send no password.

An <Image> of Label Studio's page loads its address from the browser of whoever labels, which knows
neither the backend's password nor its secrets. The address carries a key instead, made of what it
names and the webhook secret: nobody can guess one, and it opens nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.services import Services

KEY = "key"


def matched_address(services: Services, project: int, sha256: str, page: int) -> str:
    """Return the whole address of a matched image, as a browser reaches it."""
    path = matched_path(services.credentials.webhook_secret, project, sha256, page)
    return services.settings.browser_address + path


def matched_path(secret: str, project: int, sha256: str, page: int) -> str:
    """Return the path and query of the matched image of one page of a raw file."""
    path = f"/images/{project}/{sha256}/matched.png"
    return f"{path}?page={page}&{KEY}={key_of(secret, project, sha256, page)}"


def key_of(secret: str, project: int, sha256: str, page: int) -> str:
    """Return the key of the matched image: hex, of one project, file and page alone."""
    named = f"matched/{project}/{sha256}/{page}".encode()
    return hmac.new(secret.encode(), named, hashlib.sha256).hexdigest()


def is_key(given: str, secret: str, project: int, sha256: str, page: int) -> bool:
    """Return whether a key that came with a request is the right one, in constant time."""
    right = key_of(secret, project, sha256, page)
    return bool(secret) and hmac.compare_digest(given.encode(), right.encode())
