"""The real thing: `cytoloop up` as a process, Label Studio in Chromium, and what a person does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from backend.credentials import Credentials
from backend.labelstudio.client import LabelStudio
from backend.running.label_studio import label_studio_service
from backend.running.supervisor import Supervisor
from backend.running.terminal import Terminal
from backend.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CYTOLOOP = Path(sys.executable).with_name("cytoloop")
READY = "Ctrl-C stops everything"
UP_WITHIN_S = 240
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], Any], within_s: float, every_s: float = 0.5) -> Any:
    """Return the first true answer; raise what was last seen when there is none in time."""
    until = time.monotonic() + within_s
    while not (seen := what()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what} still answers {seen!r} after {within_s} s")
        time.sleep(every_s)
    return seen


@dataclass
class Loop:
    """One `cytoloop up` on a home of its own."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    label_studio_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        return {
            **os.environ,
            "CYTOLOOP_HOME": str(self.home),
            "CYTOLOOP_PORT": str(self.port),
            "CYTOLOOP_LABEL_STUDIO_PORT": str(self.label_studio_port),
            **self.environment,
        }

    def up(self, *arguments: str) -> float:
        """Start and return the seconds until everything answers."""
        began = time.monotonic()
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [CYTOLOOP, "up", *arguments], env=self.variables, stdout=out, stderr=out
            )
        wait_for(self._is_ready, UP_WITHIN_S, every_s=0.1)
        return time.monotonic() - began

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(by)
        return self.process.wait(60)

    def run(self, *arguments: str) -> str:
        """Run a command of `cytoloop` on this home and return what it prints."""
        done = subprocess.run(
            [CYTOLOOP, *arguments], env=self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """Run a command that must fail, and return what it says."""
        done = subprocess.run(
            [CYTOLOOP, *arguments], env=self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        return done.stderr

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json"))

    def processes(self) -> list[int]:
        """Return every process that was started on this home, whoever its parent is by now."""
        marked = f"CYTOLOOP_HOME={self.home}\0".encode()
        found = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if marked in environ.read_bytes():
                    found.append(int(environ.parent.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    @property
    def log(self) -> Path:
        return self.home / "up.log"

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8")

    @property
    def credentials(self) -> Credentials:
        return Credentials.load_or_create(Settings(home=self.home))

    @property
    def label_studio(self) -> LabelStudio:
        address = f"http://127.0.0.1:{self.label_studio_port}"
        return LabelStudio(address, self.credentials.label_studio_token)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said
        return READY in self.said


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose Label Studio has made its database: that takes a minute, a copy no time."""
    home = tmp_path_factory.mktemp("template")
    settings = Settings(home=home, label_studio_port=free_port())
    supervisor = Supervisor(home, home / "logs", Terminal())
    try:
        credentials = Credentials.load_or_create(settings)
        supervisor.start([label_studio_service(settings, credentials)])
    finally:
        supervisor.stop()
    return home


@pytest.fixture
def make_loop(template: Path, tmp_path: Path) -> Iterator[Callable[..., Loop]]:
    made: list[Loop] = []

    def make(**environment: str) -> Loop:
        home = tmp_path / f"h{len(made)}"
        shutil.copytree(template, home)
        made.append(Loop(home, environment))
        return made[-1]

    yield make
    for loop in made:
        if loop.process is not None and loop.process.poll() is None:
            loop.stop(signal.SIGTERM)
        if loop.log.exists():
            print(loop.said)


@pytest.fixture
def artifacts() -> Path:
    folder = ROOT / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def page() -> Iterator[Page]:
    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1500, "height": 1100})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


class Editor:
    """Label Studio's page, worked by its screen and mouse alone."""

    def __init__(self, page: Page, loop: Loop) -> None:
        self.page = page
        self.loop = loop
        self._address = f"http://127.0.0.1:{loop.label_studio_port}"

    def log_in(self) -> None:
        credentials = self.loop.credentials
        self.page.goto(f"{self._address}/user/login/")
        self.page.fill("input[name=email]", credentials.email)
        self.page.fill("input[name=password]", credentials.password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "/user/login" not in url)

    def open(self, project: int, task: int) -> None:
        """Open a task and wait until its image is drawn."""
        self.page.goto(f"{self._address}/projects/{project}/data?task={task}")
        self.page.wait_for_selector(".konvajs-content")
        self.page.wait_for_function(IMAGE_IS_DRAWN)

    def boxes(self) -> list[dict[str, float]]:
        """Return the boxes on the screen: x, y, width and height in percent of the image."""
        return self.page.evaluate(BOXES)

    def wait_for_boxes(self, number: int) -> None:
        self.page.wait_for_function(f"() => ({BOXES})().length === {number}")

    def delete(self, region: dict[str, Any]) -> None:
        """Delete the box that Label Studio holds as this region."""
        box = region["value"]
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.click(*self._at(*middle))
        self.page.wait_for_function(ONE_IS_SELECTED)
        self.page.keyboard.press("Backspace")

    def draw(self, x: float, y: float, right: float, bottom: float) -> None:
        """Draw a box with the first label; all in percent of the image."""
        self.page.keyboard.press("1")
        self.page.mouse.move(*self._at(x, y))
        self.page.mouse.down()
        self.page.mouse.move(*self._at((x + right) / 2, (y + bottom) / 2))
        self.page.mouse.move(*self._at(right, bottom))
        self.page.mouse.up()

    def submit(self) -> None:
        with self.page.expect_response(lambda r: "/annotations" in r.url and r.ok):
            self.page.click("[data-testid=bottombar-submit-button]")

    def _at(self, x_percent: float, y_percent: float) -> tuple[float, float]:
        stage = self.page.locator(".konvajs-content").bounding_box()
        assert stage is not None
        return (
            stage["x"] + stage["width"] * x_percent / 100,
            stage["y"] + stage["height"] * y_percent / 100,
        )


#: Label Studio's own objects of the page, read only.
IMAGE_IS_DRAWN = """() => {
  const image = window.Htx?.annotationStore?.selected?.objects?.[0];
  return Boolean(image && image.stageWidth > 1 && image.imageIsLoaded !== false);
}"""
ONE_IS_SELECTED = "() => window.Htx.annotationStore.selected.selectedRegions.length === 1"
BOXES = """() => (window.Htx?.annotationStore?.selected?.regions ?? []).map(
  (r) => ({x: r.x, y: r.y, width: r.width, height: r.height, id: r.cleanId ?? r.id}))"""


@pytest.fixture
def make_editor(page: Page) -> Callable[[Loop], Editor]:
    return lambda loop: Editor(page, loop)


@pytest.fixture
def wait() -> Callable[..., Any]:
    return wait_for
