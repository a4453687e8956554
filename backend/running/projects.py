"""Which projects a start opens: those known already, a folder's, or the demo."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path

from backend.datasets.importing import import_folder
from backend.errors import BackendError
from backend.running.attach import attach, make_project
from backend.running.demo import write_demo
from backend.running.terminal import Terminal
from backend.services import Services
from backend.store.projects import Project
from model.atomic import write_json
from model.wording import counted

FOLDERS_FILE = "folders.json"
DEMO_TITLE = "Cytoloop demo"


def open_projects(services: Services, images: Path | None, terminal: Terminal) -> list[Project]:
    """Attach every known project, and make the one of ``images`` or, where there is none, the demo.

    Doing it again finds what is there: images are known by their hash. A project that cannot be
    attached or filled is said, and stops nothing: it is mended in the Label Studio that runs.
    """
    home = services.settings.home
    present = {project["id"]: project["title"] for project in services.label_studio.projects()}
    known = {project.id: project.title for project in services.projects.all()}
    # A store that was lost, or is a copy of before, lacks projects that have a folder.
    known |= {id: present[id] for id in _folders(home).values() if id in present}
    opened = [
        project
        for id, title in sorted(known.items())
        for project in _attached(services, id, title, present, terminal)
    ]
    demo = home / "demo"
    if images is not None:
        opened += _open_folder(services, images, present, terminal)
    elif present.keys().isdisjoint(known) or _folders(home).get(str(demo / "images")) in present:
        with terminal.working("Generating the demo's cell fields"):
            folder = write_demo(demo)
        opened += _open_folder(services, folder, present, terminal, DEMO_TITLE)
    return list({project.id: project for project in opened}.values())


def _attached(
    services: Services, id: int, title: str, present: Container[int], terminal: Terminal
) -> list[Project]:
    """Attach a project, or say why it cannot be."""
    if id not in present:
        terminal.say(f"Project {id} ({title}) is not in Label Studio any more.")
        return []
    try:
        return [attach(services, id)]
    except BackendError as error:
        terminal.warn(f"Project {id} ({title}): {error}")
        return []


def _open_folder(
    services: Services,
    folder: Path,
    present: Container[int],
    terminal: Terminal,
    title: str = "",
) -> list[Project]:
    """Make, attach and fill the folder's project where that was not done yet, or say why not."""
    folder = folder.resolve()
    try:
        project = _project_of(services, folder, present, title)
        _fill(services, project, folder, terminal)
    except BackendError as error:
        terminal.warn(f"{folder}: {error}")
        return []
    return [project]


def _project_of(services: Services, folder: Path, present: Container[int], title: str) -> Project:
    known = _folders(services.settings.home)
    id = known.get(str(folder))
    if id is None or id not in present:
        id = make_project(services, title or _free_title(services, folder)).id
        known[str(folder)] = id
        write_json(services.settings.home / FOLDERS_FILE, known)
        attach(services, id)
    return services.projects.get(id)


def _fill(services: Services, project: Project, folder: Path, terminal: Terminal) -> None:
    def show(number: int, total: int, name: str) -> None:
        terminal.update(f"Importing {number + 1} of {total}: {name}")

    with terminal.working(f"Importing {folder}"):
        done = import_folder(services, project.id, folder, on_progress=show)
    for note in done.notes:
        terminal.warn(note)
    images = done.tasks + done.known
    terminal.done(
        "Project", f"{project.title}: {counted(images, 'image')}, {done.tasks} of them new"
    )


def _free_title(services: Services, folder: Path) -> str:
    """Name a project after its folder; where another folder's has that name, with its parent's."""
    taken = {project.title for project in services.projects.all()}
    return folder.name if folder.name not in taken else f"{folder.parent.name}/{folder.name}"


def _folders(home: Path) -> dict[str, int]:
    path = home / FOLDERS_FILE
    return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
