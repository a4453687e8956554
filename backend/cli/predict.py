"""`cytoloop predict`: finds and counts the cells of images, without a server."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli import choosing
from backend.cli.console import progress, tell, warn
from backend.cli.options import (
    CellDiameter,
    ChampionOf,
    Device,
    Home,
    ImagePaths,
    Model,
    Results,
    settings_from,
)
from backend.errors import NotFound
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.cli.choosing import Choice
    from backend.settings import Settings
    from backend.store.projects import Project


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(predict)


def predict(
    paths: ImagePaths,
    out: Results,
    model: Model = None,
    project: ChampionOf = None,
    scores: Annotated[
        bool,
        typer.Option(
            "--scores", help="Draw the scores of boxes that are wide enough to read them."
        ),
    ] = False,
    cell_diameter: CellDiameter = None,
    device: Device = None,
    home: Home = None,
) -> None:
    """Find the cells of images, and count them.

    Each image gets a VOC file and a PNG with the boxes drawn; counts.csv has the counts of all.
    Stopped and run again, it goes on with the images that are not done. Images that cannot be
    counted are reported and flagged; the exit code is 0 unless none can be.
    """
    from backend.datasets.counting import TABLE
    from backend.datasets.gathering import gather
    from backend.datasets.predicting import predict_into

    settings = settings_from(home=home, device=device)
    registry = settings.open_registry()
    owner = choosing.named_project(settings, project)
    choice = choosing.choose_version(registry, model, owner)
    diameter = choosing.choose_cell_diameter(registry, choice, cell_diameter)
    version = choice.version
    gathered = gather(paths)
    loaded = registry.load(version.id, settings.device).with_cell_diameter(diameter)
    name = _default_class(settings, owner, choice)
    with progress("Finding cells") as advance:
        result = predict_into(
            out, gathered.files, loaded, name, scores, advance, unnamed=gathered.unnamed
        )
    warn([*gathered.misnamed, *result.notes, *gathered.notes_on_others])
    cells, looked_at = counted(result.cells, "cell"), counted(result.images, "image")
    before = f", {result.before} of them before" if result.before else ""
    missing = len(gathered.misnamed) + result.left_out
    left_out = f", {missing} left out" if missing else ""
    if others := sum(len(each.files) for each in gathered.others):
        left_out += f", {counted(others, 'other file')} left out"
    more = counted(result.others, "image")
    held = f", which also holds {more} of earlier calls" if result.others else ""
    tell(f"{cells} in {looked_at}{before}{left_out}: {out / TABLE}{held}")


def _default_class(settings: Settings, owner: Project | None, choice: Choice) -> str:
    """Return the class for the boxes of a version without classes: its project's default.

    No database is needed if the version has classes, or no project.
    """
    if owner is None and choice.project is not None and not choice.version.classes:
        with suppress(NotFound, ValueError):  # for a registry that came without its database
            owner = choosing.named_project(settings, int(choice.project))
    return owner.default_class if owner else settings.default_class
