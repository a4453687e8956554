from __future__ import annotations

from pathlib import Path

import pytest

from backend.credentials import Credentials
from backend.running.loop import welcome
from backend.running.terminal import Terminal
from backend.services import build_services
from backend.settings import Settings


def test_titles_and_paths_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.done("Project", "[old] blood, plate [/A]: 3 images")
    terminal.say("Project 1 ([/A]) is not in Label Studio any more.")
    terminal.warn("[/A].png left out: not an image")
    with terminal.working("Importing /images/[/A]"):
        terminal.update("Importing 1 of 1: [/A].png")
    said = capsys.readouterr().out
    for words in ("[old] blood, plate [/A]", "1 ([/A])", "! [/A].png"):
        assert words in said


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
