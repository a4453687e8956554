"""Connects Cytoloop to a Label Studio that already runs."""

from __future__ import annotations

from dataclasses import replace

from backend.credentials import FILE_NAME, Credentials
from backend.errors import BadRequest
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.interface import LabellingInterface
from backend.running.attach import attach
from backend.running.http import answers
from backend.running.label_studio import is_own, known_address, require_same
from backend.running.ours import web_address
from backend.services import build_services
from backend.settings import Settings


def connect(settings: Settings, url: str, token: str, project_id: int) -> str:
    """Keep the address and token, and attach the project now or at the next `cytoloop up`.

    Parameters
    ----------
    url, token
        Address and token of the Label Studio; empty for those known in the home, which may be our
        own.

    Returns
    -------
    What was done and what comes next, for a person.

    Raises
    ------
    LabelStudioError
        It cannot be reached, the token is wrong, or there is no such project; nothing was kept.
    BadLabelConfig
        The project's labels are not boxes on an image; nothing was kept.
    Refused
        The home knows projects of another Label Studio; nothing was kept.
    BadRequest
        Address or token is needed but was not given.
    """
    url, token = _completed(settings, url.rstrip("/"), token)
    studio = LabelStudio(url, token)
    found = studio.check()
    project = studio.project(project_id)
    LabellingInterface.parse(project["label_config"])
    services = build_services(settings)
    require_same(services, url)
    to_keep = {
        "label_studio_url": "" if is_own(settings, url) else url,
        "label_studio_token": token,
    }
    before = services.credentials
    kept = replace(before, **to_keep)
    kept.save(settings.home)
    services = replace(services, credentials=kept)
    services.projects.ensure(project_id, project["title"], project["label_config"])
    done = f"Label Studio {found['version']} at {url}, as {found['user']}: "
    if not answers(f"{web_address(settings)}/health"):
        return f"{done}kept. Start Cytoloop (cytoloop up): it attaches {project['title']!r}."
    attach(services, project_id)
    attached = f"{done}{project['title']!r} is attached to {settings.backend_address}."
    if before.label_studio_token == token:
        return attached
    return f"{attached} Start Cytoloop anew: what runs goes on with the former token."


def _completed(settings: Settings, url: str, token: str) -> tuple[str, str]:
    """Fill in what was not given from the home; another address never gets the kept token."""
    if (settings.home / FILE_NAME).exists():
        known = known_address(settings)
        url = url or known
        if url == known:
            token = token or Credentials.load_or_create(settings).label_studio_token
    if not (url and token):
        raise BadRequest(
            "Name the Label Studio: --url https://… --token TOKEN (Account & Settings). Both may "
            "be left out for one that this home knows."
        )
    return url, token
