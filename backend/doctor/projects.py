"""Checks the projects: known to Label Studio, connected both ways, and webhooks that arrive."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from backend.doctor.findings import Finding, Installation, fail, ok, warn
from backend.doctor.storage import known_projects
from backend.errors import BadLabelConfig, LabelStudioError
from backend.labelstudio.client import SECRET_HEADER, WEBHOOK_ACTIONS
from backend.labelstudio.interface import LabellingInterface
from backend.store.projects import Project

#: Label Studio sends a webhook while it answers, and waits a second for it.
ARRIVES_WITHIN_S = 5.0
LOOK_EVERY_S = 0.2
EVENT = "PROJECT_UPDATED"
RECEIVED = re.compile(
    rf'^cytoloop_webhook_events_total{{action="{EVENT}",outcome="recorded"}} ([\d.e+]+)$', re.M
)


def projects(installation: Installation) -> Iterator[Finding]:
    """Check each project's connection, then make Label Studio send a webhook."""
    known = known_projects(installation)
    if known is None:
        yield warn("Projects", "unknown, since the store cannot be read", "Mend the store first.")
        return
    if not known:
        yield ok("Projects", "none yet: cytoloop up makes one, cytoloop connect takes one")
        return
    connected = []
    try:
        described = {each["id"]: each for each in installation.label_studio.projects()}
        for project in known:
            findings = list(_connection(installation, project, described.get(project.id)))
            connected += [project] if all(f.level == "ok" for f in findings) else []
            yield from findings
    except LabelStudioError as error:
        says = f"could not be asked of Label Studio: {error}"
        yield fail("Projects", says, "Mend Label Studio and its token first.")
        return
    if connected and installation.web_answers:
        yield _round_trip(installation, connected[0])


def _connection(
    installation: Installation, project: Project, described: Mapping[str, Any] | None
) -> Iterator[Finding]:
    """Look at one project.

    Parameters
    ----------
    described
        Label Studio's description; None if it has no project of this number.
    """
    about = f"Project {project.id}"
    if described is None:
        says = f"{project.title!r} is not in Label Studio any more, or its token cannot see it"
        yield warn(about, says, "Nothing, if it was deleted there; what was learned is kept.")
        return
    missing = _missing(installation, project.id)
    if missing:
        mend = f"cytoloop connect --project {project.id}"
        yield fail(about, f"{project.title!r}: {'; '.join(missing)}", mend)
    else:
        yield ok(about, f"{project.title!r}: connected")
    try:
        LabellingInterface.parse(described["label_config"])
    except BadLabelConfig as error:
        says = f"{project.title!r}: its label_config cannot be used; the one of before serves"
        yield warn(about, says, str(error))


def _missing(installation: Installation, project: int) -> list[str]:
    """Return the parts of the connection made by ``running.attach`` that a project lacks."""
    settings, missing = installation.settings, list[str]()
    url, hook_url = settings.backend_address, settings.webhook_address
    if url not in [each["url"].rstrip("/") for each in installation.label_studio.backends(project)]:
        missing.append(f"no model of it is at {url}")
    hooks = installation.label_studio.webhooks(project)
    ours = next((hook for hook in hooks if hook["url"].rstrip("/") == hook_url), None)
    secret = installation.credentials.webhook_secret if installation.credentials else ""
    if ours is None:
        missing.append(f"no webhook to {hook_url}")
    elif not ours["is_active"] or not ours["send_payload"]:
        missing.append("its webhook is switched off or sends no payload")
    elif ours["headers"].get(SECRET_HEADER) != secret:
        missing.append("its webhook has a secret that is not the kept one")
    elif not ours["send_for_all_actions"] and set(WEBHOOK_ACTIONS) - set(ours["actions"]):
        missing.append("its webhook tells only some of what happens")
    return missing


def _round_trip(installation: Installation, project: Project) -> Finding:
    """Save a project's title as it is, and check that the webhook about it arrives."""
    about, url = "Webhook", installation.settings.webhook_address
    try:
        before = _received(installation)
        title = installation.label_studio.project(project.id)["title"]
        began = time.monotonic()
        installation.label_studio.patch_project(project.id, title=title)
        while _received(installation) <= before:
            if time.monotonic() - began > ARRIVES_WITHIN_S:
                return fail(about, f"none arrived at {url} in {ARRIVES_WITHIN_S:.0f} s", _MEND)
            time.sleep(LOOK_EVERY_S)
    except (LabelStudioError, requests.RequestException) as error:
        return fail(about, f"could not be tried: {error}", "Mend what stands above first.")
    return ok(about, f"arrived at {url} after {time.monotonic() - began:.1f} s")


_MEND = (
    "Label Studio must reach that address: set CYTOLOOP_BACKEND_URL to one that is right from its "
    "side. It sends nothing to local addresses unless it runs with SSRF_PROTECTION_ENABLED=false."
)


def _received(installation: Installation) -> float:
    """Return how many webhooks of the event the web process has recorded since its start."""
    answer = installation.metrics()
    answer.raise_for_status()
    found = RECEIVED.search(answer.text)
    return float(found.group(1)) if found else 0.0
