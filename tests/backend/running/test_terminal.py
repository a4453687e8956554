from __future__ import annotations

import io

import pytest
from rich.console import Console

from backend.running.terminal import Terminal


def test_titles_and_paths_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.done("Project", "[old] blood, plate [/A]: 3 images")
    terminal.say("Project 1 ([/A]) is not in Label Studio any more.")
    terminal.warn("[/A].png left out: not an image")
    terminal.warn("b\x1b[2J.png left out: not an image")
    with terminal.working("Importing /images/[/A]"):
        terminal.update("Importing 1 of 1: [/A].png")
    said = capsys.readouterr().out
    for words in ("[old] blood, plate [/A]", "1 ([/A])", "! [/A].png", r"! b\x1b[2J.png"):
        assert words in said


def test_what_goes_on_is_shown_again_after_a_line_that_was_printed_meanwhile() -> None:
    terminal = Terminal()
    terminal.console = Console(file=io.StringIO(), force_terminal=True)
    with terminal.working("Importing"):
        terminal.warn("Worker was ended by SIGKILL.")
        terminal.update("Importing 2 of 3")
    assert "Importing 2 of 3" in terminal.console.file.getvalue()  # type: ignore[attr-defined]
