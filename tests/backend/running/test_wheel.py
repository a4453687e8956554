"""What is installed without a checkout, as the Dockerfile does, has all that the code reads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from model.keeping.starter import STARTER_ID

ROOT = Path(__file__).resolve().parents[3]
USED = """
from pathlib import Path
import backend, model, preprocessing
from backend.app import create_app
from backend.settings import Settings

for package in backend, model, preprocessing:
    assert Path(package.__file__).is_relative_to(Path.cwd() / "installed"), package.__file__
settings = Settings()
assert settings.label_config.is_file()
starter = settings.open_registry().load(settings.first_version, "cpu").version
visitor, known = create_app().test_client(), ("cytoloop", "known here")
pages = "/", "/static/dashboard.css", "/static/dashboard.js", "/static/cytoloop.svg"
print(starter.id, *(visitor.get(page, auth=known).status_code for page in pages))
"""


def copied_by_the_dockerfile() -> list[str]:
    """Return the files and folders of the checkout that an image is built of."""
    copies = re.findall(r"^COPY (.+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    return [name for copy in copies for name in copy.split()[:-1]]


def uv() -> str:
    of_checkout = ROOT / ".uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(of_checkout) if of_checkout.is_file() else None)
    assert found, "make setup gets uv"
    return found


@pytest.mark.integration
def test_a_wheel_has_the_starter_the_interface_and_the_page(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in copied_by_the_dockerfile():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    built = [uv(), "build", "--wheel", "--out-dir", tmp_path / "dist", source]
    done = subprocess.run(built, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "installed"),
        "CYTOLOOP_HOME": str(tmp_path / "home"),
        "CYTOLOOP_BACKEND_PASSWORD": "known here",
    }
    used = subprocess.run(
        [sys.executable, "-c", USED],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.stdout.split() == [STARTER_ID, *["200"] * 4], used.stderr
