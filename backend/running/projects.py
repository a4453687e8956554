"""Opens the projects of a start: known ones, a folder's, or the demo."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from backend.datasets.importing import import_folder
from backend.errors import BackendError
from backend.running.attach import attach, make_project
from backend.running.demo import write_demo
from backend.running.errors import ServiceFailed
from backend.running.folders import Alike, find_alike, keep_folder, known_folders, project_of
from backend.running.terminal import Terminal
from backend.services import Services
from backend.store import mending
from backend.store.projects import Project
from model.wording import counted

DEMO_TITLE = "Cytoloop demo"


def open_projects(
    services: Services,
    images: Path | None,
    terminal: Terminal,
    on_image: Callable[[], object] | None = None,
) -> list[Project]:
    """Attach every known project; make the one of ``images``, or the demo if there is none.

    A repeated call finds what is there, since images are known by hash. A project that cannot be
    attached or filled is reported and stops nothing: it can be mended in the running Label Studio.

    Parameters
    ----------
    images
        A folder to make a project of.
    on_image
        Called before each imported image.

    Raises
    ------
    LabelStudioError
        Label Studio does not list its projects.
    ServiceFailed
        Raised by ``on_image``.
    """
    home = services.settings.home
    folders = known_folders(home)
    present = {project["id"]: project["title"] for project in services.label_studio.projects()}
    known = {project.id: project.title for project in services.projects.all()}
    # A lost store, or one restored from a copy, lacks projects that have a folder.
    known |= {id: present[id] for id in folders.values() if id in present}
    opened = [
        project
        for id, title in sorted(known.items())
        for project in _attached(services, id, title, present, terminal)
    ]
    demo = home / "demo"
    if images is not None:
        opened += _open_folder(services, images, present, terminal, on_image)
    elif present.keys().isdisjoint(known) or folders.get(str(demo / "images")) in present:
        with _said("The demo", terminal):
            with terminal.working("Generating the demo's cell fields"):
                folder = write_demo(demo)
            opened += _open_folder(services, folder, present, terminal, on_image, DEMO_TITLE)
    return list({project.id: project for project in opened}.values())


def _attached(
    services: Services, id: int, title: str, present: Container[int], terminal: Terminal
) -> list[Project]:
    """Attach a project, or say why it cannot be attached."""
    if id not in present:
        terminal.say(f"Project {id} ({title}) is not in Label Studio any more.")
        return []
    with _said(f"Project {id} ({title})", terminal):
        return [attach(services, id)]
    return []


@contextmanager
def _said(what: str, terminal: Terminal) -> Iterator[None]:
    """Report what went wrong with a project, and go on."""
    try:
        yield
    except ServiceFailed:  # concerns the loop, not the project
        raise
    except (BackendError, OSError) as error:
        terminal.warn(f"{what}: {error}")
    except SQLAlchemyError as error:
        if not (said := mending.in_words(error)):
            raise
        terminal.warn(f"{what}: {said}")


def _open_folder(
    services: Services,
    folder: Path,
    present: Container[int],
    terminal: Terminal,
    on_image: Callable[[], object] | None,
    title: str = "",
) -> list[Project]:
    """Make, attach and fill a folder's project, as far as not done yet, or say why not."""
    folder = folder.resolve()
    with _said(str(folder), terminal):
        project = _project_of(services, folder, present, title, terminal)
        _fill(services, project, folder, terminal, on_image)
        return [project]
    return []


def _project_of(
    services: Services, folder: Path, present: Container[int], title: str, terminal: Terminal
) -> Project:
    home = services.settings.home
    id = project_of(services, folder)
    if id is None or id not in present:
        with terminal.working(f"Looking for a project that has the images of {folder}"):
            alike = find_alike(services, folder, present)
        if alike:
            _tell(alike, folder, terminal)
        if alike and alike.moved_from:
            id = alike.project.id
        else:
            id = make_project(services, title or _free_title(services, folder)).id
        keep_folder(home, folder, id)
        attach(services, id)
    else:
        keep_folder(home, folder, id)
    return services.projects.get(id)


def _tell(alike: Alike, folder: Path, terminal: Terminal) -> None:
    number, title = alike.project.id, alike.project.title
    images = counted(alike.images, "image")
    has = f"Project {number} ({title}) has {alike.shared} of the {images} of {folder}"
    if alike.moved_from:
        gone = f"its own folder {alike.moved_from} is not there any more"
        terminal.say(f"{has}, and {gone}: it goes on with that folder.")
    else:
        into = f"cytoloop import {shlex.quote(str(folder))} --project {number}"
        terminal.warn(
            f"{has}, and so has a new project from now on. Was that not meant, delete the new one "
            f"in Label Studio; `{into}` brings the folder into the other."
        )


def _fill(
    services: Services,
    project: Project,
    folder: Path,
    terminal: Terminal,
    on_image: Callable[[], object] | None,
) -> None:
    def show(number: int, total: int, name: str) -> None:
        if on_image:
            on_image()
        terminal.update(f"Importing {number + 1} of {total}: {name}")

    def wait() -> None:
        terminal.say(f"{project.title}: waiting for another import into it to end …")

    with terminal.working(f"Importing {folder}"):
        done = import_folder(services, project.id, folder, on_progress=show, on_wait=wait)
    for note in done.notes:
        terminal.warn(note)
    images = done.tasks + done.known
    terminal.done(
        "Project", f"{project.title}: {counted(images, 'image')}, {done.tasks} of them new"
    )


def _free_title(services: Services, folder: Path) -> str:
    """Name a project after its folder; with the parent's name if another folder's has that name."""
    taken = {project.title for project in services.projects.all()}
    return folder.name if folder.name not in taken else f"{folder.parent.name}/{folder.name}"
