"""Which projects a start opens: those known already, a folder's, or the demo."""

from __future__ import annotations

import json
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
    attached is said, and stops nothing: it is mended in the Label Studio that runs.
    """
    present = {project["id"] for project in services.label_studio.projects()}
    demo = services.settings.home / "demo"
    known = services.projects.all()
    opened = [project for project in known if _is_attached(services, project, present, terminal)]
    if images is not None:
        opened.append(_open_folder(services, images, present, terminal))
    elif present.isdisjoint(project.id for project in known) or (
        _folders(services.settings.home).get(str(demo / "images")) in present
    ):
        with terminal.working("Generating the demo's cell fields"):
            folder = write_demo(demo)
        opened.append(_open_folder(services, folder, present, terminal, DEMO_TITLE))
    return list({project.id: project for project in opened}.values())


def _is_attached(
    services: Services, project: Project, present: set[int], terminal: Terminal
) -> bool:
    """Attach a project, or say why it cannot be."""
    if project.id not in present:
        terminal.say(f"Project {project.id} ({project.title}) is not in Label Studio any more.")
        return False
    try:
        attach(services, project.id)
    except BackendError as error:
        terminal.warn(f"Project {project.id} ({project.title}): {error}")
        return False
    return True


def _open_folder(
    services: Services, folder: Path, present: set[int], terminal: Terminal, title: str = ""
) -> Project:
    """Return the folder's project; made, attached and filled where that was not done yet."""
    folder = folder.resolve()
    known = _folders(services.settings.home)
    id = known.get(str(folder))
    if id is None or id not in present:
        id = make_project(services, title or _free_title(services, folder)).id
        known[str(folder)] = id
        write_json(services.settings.home / FOLDERS_FILE, known)
        attach(services, id)
    project = services.projects.get(id)
    _fill(services, project, folder, terminal)
    return project


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
