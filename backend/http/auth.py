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
    """Accept only requests with the backend's user and password.

    Raises
    ------
    Unauthorised
        The request has none, or wrong ones.
    FromAnotherSite
        Another site's page made the browser send its stored password along.
    """
    _refuse_other_sites()
    services = parts().services
    if not has_password(request):
        raise Unauthorised(
            f'This needs the user "{services.settings.backend_user}" and the password kept as '
            f'"backend_password" in {FILE_NAME} in the home of Cytoloop (CYTOLOOP_HOME, by default '
            "~/.cytoloop). In Label Studio it belongs into the project's settings, Model, Basic "
            "Authentication; `cytoloop connect` enters it."
        )


def require_webhook_secret() -> None:
    """Accept a webhook: Label Studio sends a header that it was given with it, no password.

    START_TRAINING comes from Label Studio's ML connection instead, with the password.

    Raises
    ------
    Unauthorised
        The request has neither.
    FromAnotherSite
        As in :func:`require_password`.
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
    """Return whether a request has the backend's user and password."""
    services = parts().services
    try:
        given = asked.authorization
    except ValueError:  # not base64
        return False
    if given is None or given.type != "basic":
        return False
    # Both are always compared, so that timing reveals nothing.
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
    """Tell whether a browser sent a request for another site's page; other clients do not say."""
    if site := asked.headers.get("Sec-Fetch-Site"):
        return site in ("cross-site", "same-site")  # such as another port of this machine
    # Over plain HTTP browsers send Sec-Fetch-Site only to their own machine, but Origin to all.
    origin = asked.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != asked.host


def _same(given: str, kept: str) -> bool:
    return bool(kept) and hmac.compare_digest(given.encode(), kept.encode())
