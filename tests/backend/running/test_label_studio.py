from __future__ import annotations

import sys
from pathlib import Path

import pytest

from backend.credentials import Credentials
from backend.running.label_studio import label_studio_service
from backend.settings import Settings


def test_its_pages_take_their_scripts_from_where_browsers_find_it(tmp_path: Path) -> None:
    at = "http://microscope-pc:8080"
    chosen = {"home": tmp_path, "label_studio_command": sys.executable}

    here = label_studio_service(Settings(**chosen), Credentials())
    abroad = label_studio_service(Settings(label_studio_browser_url=at, **chosen), Credentials())

    assert here.environment["LABEL_STUDIO_HOST"] == here.where
    assert abroad.environment["LABEL_STUDIO_HOST"] == at
    assert abroad.where == here.where


def test_a_program_named_from_here_is_found_by_a_service_that_starts_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(sys.executable).parent)
    chosen = Settings(home=tmp_path, label_studio_command=f"./{Path(sys.executable).name}")
    assert label_studio_service(chosen, Credentials()).command[0] == str(
        Path.cwd() / Path(sys.executable).name
    )
