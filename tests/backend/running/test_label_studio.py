from __future__ import annotations

import sys
from pathlib import Path

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
