"""What a start says once everything runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backend.running.loop import welcome
from backend.running.terminal import Terminal
from backend.services import Services


def test_label_studios_password_is_told_as_the_one_of_before_a_change_there(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    own = replace(services, credentials=replace(services.credentials, label_studio_url=""))
    welcome(own, Terminal())
    password = services.credentials.password
    assert f"password {password}  (until it is changed there)" in capsys.readouterr().out
