from __future__ import annotations

from typing import Any

import pytest

from backend.doctor.findings import Finding, Installation
from backend.doctor.projects import projects
from backend.labelstudio.client import SECRET_HEADER
from backend.services import Services
from tests.backend.conftest import CREDENTIALS, LABEL_CONFIG


class Connected:
    """Stands where Label Studio would, with a project that is connected both ways."""

    def __init__(self, installation: Installation, label_config: str) -> None:
        self._installation, self._label_config = installation, label_config
        self.listed = 0

    def projects(self) -> list[dict[str, Any]]:
        self.listed += 1
        return [{"id": id, "label_config": self._label_config} for id in (1, 2)]

    def backends(self, project: int) -> list[dict[str, Any]]:
        return [{"url": self._installation.settings.backend_address}]

    def webhooks(self, project: int) -> list[dict[str, Any]]:
        hook = {"is_active": True, "send_payload": True, "send_for_all_actions": True}
        secret = {SECRET_HEADER: CREDENTIALS.webhook_secret}
        return [{"url": self._installation.settings.webhook_address, "headers": secret, **hook}]


@pytest.mark.usefixtures("project")
def test_the_projects_are_listed_once_for_all(services: Services) -> None:
    services.projects.ensure(2, "proj2", LABEL_CONFIG)
    installation = Installation(services.settings)
    studio = Connected(installation, LABEL_CONFIG)
    installation.__dict__.update(label_studio=studio, web_answers=False)
    assert [found.level for found in projects(installation)] == ["ok", "ok"]
    assert studio.listed == 1


def found_with(services: Services, label_config: str) -> list[Finding]:
    installation = Installation(services.settings)
    studio = Connected(installation, label_config)
    installation.__dict__.update(label_studio=studio, web_answers=False)
    return list(projects(installation))


@pytest.mark.usefixtures("project")
def test_a_label_config_that_draws_no_boxes_is_told_with_what_to_do(services: Services) -> None:
    assert [found.level for found in found_with(services, LABEL_CONFIG)] == ["ok"]
    connected, told = found_with(services, '<View><Image name="i" value="$i"/></View>')
    assert (connected.level, told.level) == ("ok", "warn")
    assert "label_config cannot be used" in told.says
    assert "draws no boxes on an image" in told.mend
    assert "Settings, Labeling Interface" in told.mend
