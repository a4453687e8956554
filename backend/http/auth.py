"""Who may ask: basic auth for Label Studio and people, a secret header for webhooks."""

from __future__ import annotations

import hmac

from flask import Request, request

from backend.credentials import FILE_NAME
from backend.errors import Unauthorised
from backend.http.errors import FromAnotherSite
from backend.http.parts import parts
from backend.labelstudio.client import SECRET_HEADER


def require_password() -> None:
    """Let a request through that carries the backend's user and password.

    Raises
    ------
    Unauthorised
        It carries none, or wrong ones.
    FromAnotherSite
        Its password is the browser's, which any page may have sent along.
    """
    _refuse_other_sites()
    services = parts().services
    if not has_password(request):
        raise Unauthorised(
            f'This needs the user "{services.settings.backend_user}" and the password kept as '
            f'"backend_password" in {FILE_NAME} in the home of Cytoloop (CYTOLOOP_HOME, by default '
            "~/.cytoloop). In Label Studio it belongs into the project's Machine Learning "
            "settings, Basic Authentication; `cytoloop connect` enters it."
        )


def require_webhook_secret() -> None:
    """Let a webhook through: Label Studio sends no password with it, but a header it was given.

    START_TRAINING comes from Label Studio's ML connection instead, with the password.

    Raises
    ------
    Unauthorised
        It carries neither.
    FromAnotherSite
        As :func:`require_password`.
    """
    _refuse_other_sites()
    secret = parts().services.credentials.webhook_secret
    if not _same(request.headers.get(SECRET_HEADER, ""), secret) and not has_password(request):
        raise Unauthorised(
            f"A webhook needs the header {SECRET_HEADER} with the value kept as "
            f'"webhook_secret" in {FILE_NAME} in the home of Cytoloop; '
            "`cytoloop connect` enters it."
        )


def has_password(asked: Request) -> bool:
    """Return whether a request carries the backend's user and password."""
    services = parts().services
    try:
        given = asked.authorization
    except ValueError:  # its letters are none of base64's
        return False
    if given is None or given.type != "basic":
        return False
    # Both are compared whatever the first says, so that time tells nothing.
    right = (
        _same(given.username or "", services.settings.backend_user),
        _same(given.password or "", services.credentials.backend_password),
    )
    return all(right)


def _refuse_other_sites() -> None:
    if request.method not in ("GET", "HEAD") and _is_from_another_site(request):
        raise FromAnotherSite(
            "A page of another site asked for this, which changes something here. Ask from a "
            "script or a terminal: `cytoloop --help` names the commands."
        )


def _is_from_another_site(asked: Request) -> bool:
    """Say whether a browser sent a request for a page that is none of ours; others tell nothing."""
    if site := asked.headers.get("Sec-Fetch-Site"):
        return site in ("cross-site", "same-site")  # such as another port of this machine
    # By plain HTTP browsers tell the site to their own machine alone, but the page to every server.
    origin = asked.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != asked.host


def _same(given: str, kept: str) -> bool:
    return bool(kept) and hmac.compare_digest(given.encode(), kept.encode())
