"""The real thing: `cytoloop up` as a process, Label Studio in Chromium, and what a person does."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from backend.credentials import Credentials
from backend.running.label_studio import label_studio_service
from backend.running.supervisor import Supervisor
from backend.running.terminal import Terminal
from backend.settings import Settings
from benchmarks.installation import Loop, free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(autouse=True)
def threads_as_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loop take the threads that it takes where nobody has chosen their number."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


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
        """Return where on the screen a point of the image is, which may be shown enlarged."""
        stage = self.page.locator(".konvajs-content").bounding_box()
        assert stage is not None
        view = self.page.evaluate(VIEW)
        return (
            stage["x"] + view["left"] + view["width"] * x_percent / 100,
            stage["y"] + view["top"] + view["height"] * y_percent / 100,
        )


#: Label Studio's own objects of the page, read only.
IMAGE_IS_DRAWN = """() => {
  const image = window.Htx?.annotationStore?.selected?.objects?.[0];
  return Boolean(image && image.stageWidth > 1 && image.imageIsLoaded !== false);
}"""
VIEW = """() => {
  const image = window.Htx.annotationStore.selected.objects[0];
  return {
    left: image.zoomingPositionX, width: image.stageWidth * image.zoomScale,
    top: image.zoomingPositionY, height: image.stageHeight * image.zoomScale,
  };
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
