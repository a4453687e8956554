"""What a start says once everything runs."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from backend.credentials import Credentials
from backend.errors import LabelStudioError
from backend.running.errors import PortBusy
from backend.running.loop import run_loop, welcome
from backend.running.terminal import Terminal
from backend.services import Services, build_services
from backend.settings import Settings
from benchmarks.installation import free_port


def test_label_studios_password_is_told_as_the_one_of_before_a_change_there(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    own = replace(services, credentials=replace(services.credentials, label_studio_url=""))
    welcome(own, Terminal())
    password = services.credentials.password
    assert f"password {password}  (until it is changed there)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("label_studio", "kept"), [("", "Both logins are"), ("http://studio", "The login is")]
)
def test_as_many_logins_are_told_to_be_kept_as_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], label_studio: str, kept: str
) -> None:
    Credentials(label_studio_url=label_studio, label_studio_token="t").save(tmp_path)
    services = build_services(Settings(home=tmp_path))
    welcome(services, Terminal())
    services.engine.dispose()
    said = capsys.readouterr().out
    assert said.count("user ") == (1 if label_studio else 2)
    assert f"\n{kept} kept in {tmp_path}/credentials.json." in said


@pytest.mark.parametrize("taken", ["port", "label_studio_port"])
def test_a_start_that_finds_a_port_taken_leaves_no_new_home_behind(
    tmp_path: Path, taken: str
) -> None:
    ports = {"port": free_port(), "label_studio_port": free_port()}
    own, here = Settings(home=tmp_path / "new", **ports), ("127.0.0.1", ports[taken])
    with socket.create_server(here), pytest.raises(PortBusy, match=str(ports[taken])):
        run_loop(own)
    assert list(tmp_path.iterdir()) == []


def test_the_logins_are_told_before_the_images_come_in(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("backend.running.loop._stages", lambda *_: [])
    own = settings.model_copy(update={"port": free_port()})
    with pytest.raises(LabelStudioError):  # it is away
        run_loop(own)
    assert "Label cells   http://127.0.0.1:9\n" in capsys.readouterr().out
