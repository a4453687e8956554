from __future__ import annotations

import pytest

from backend.running.terminal import Terminal


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
