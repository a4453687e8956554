"""`cytoloop labels check`: what is odd about labels, before a run learns from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli import choosing
from backend.cli.console import progress, say, tell
from backend.cli.folder import read_folder, say_what_is_there
from backend.cli.options import (
    NAMED,
    AsJson,
    Home,
    Map,
    OneBased,
    ProjectId,
    notation_from,
    services_from,
)
from backend.errors import BadRequest
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.datasets.checking import LabelCheck
    from backend.datasets.drawn import Notation

#: Exit code if something looks wrong; 2 is an error.
ODD = 1
MEANT = (
    "A box that is meant as it is stays when you write a note to it: Meta, in the region's panel."
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    labels = typer.Typer(help="Look at what was labelled.", no_args_is_help=True)
    labels.callback()(_group)
    labels.command("check")(check)
    app.add_typer(labels, name="labels")


def _group() -> None:
    """Look at what was labelled."""


def check(
    project: ProjectId = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Look at this folder of images instead of a project.", **NAMED),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="Folder of their VOC files, or a CSV of boxes.",
            show_default="the images'",
            **NAMED,
        ),
    ] = None,
    mapping: Map = None,
    one_based: OneBased = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List the boxes that look wrong, and the images that are alike.

    Images are alike if they are there twice or show one field. Nothing is changed. Runs do not
    learn from the boxes that look wrong; exports have them as they were drawn. Exits with 1 when a
    box looks wrong, or a box or an annotation cannot be used.
    """
    of_folder = {"--annotations": annotations, "--map": mapping, "--one-based": one_based}
    if images is None:
        _refuse("needs the folder of its images: --images DIR", of_folder)
        found = _of_project(home, project)
    else:
        _refuse(
            "looks at a project instead of a folder: leave out --images", {"--project": project}
        )
        found = _of_folder(images, annotations or images, notation_from(mapping, one_based))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        _print(found)
    if found.aside and images is None:
        say(MEANT)
    if found.aside or found.unusable:
        raise typer.Exit(ODD)


def _refuse(why: str, options: Mapping[str, object]) -> None:
    """Refuse the first option that was given."""
    for name, given in options.items():
        if given not in (None, False, []):
            raise BadRequest(f"{name} {why}")


def _of_project(home: Path | None, project: int | None) -> LabelCheck:
    from backend.datasets.checking import check_project

    services = services_from(home, to_read=True)
    chosen = choosing.choose_project(services.projects, project)
    with progress("Looking for images alike") as advance:
        return check_project(services, chosen.id, lambda done, total: advance(done / total, ""))


def _of_folder(images: Path, annotations: Path, notation: Notation) -> LabelCheck:
    from backend.datasets.checking import check_folder

    folder = read_folder(images, annotations, notation)
    say_what_is_there(folder)
    with progress("Looking for images alike") as advance:
        return check_folder(folder, lambda done, total: advance(done / total, ""))


def _print(found: LabelCheck) -> None:
    from model.labels.label_guard import summary

    for one in found.aside:
        tell(one.words)
    for note in found.notes:
        tell(note)
    for same in found.same:
        tell(same)
    for names in found.alike:
        tell(f"{len(names)} images show one field and share a side: {', '.join(names)}")
    judged = summary(found.aside) if found.aside else "none looks wrong"
    if found.unusable:
        judged += f", {found.unusable} more cannot be used"
    tell(f"{counted(found.images, 'labelled image')}, {counted(found.boxes, 'box')}: {judged}")
