"""`cytoloop import` and `cytoloop export`: images and boxes in and out of a project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from backend.cli import choosing
from backend.cli.console import progress, say, tell, warn
from backend.cli.options import (
    NAMED,
    Home,
    Map,
    OneBased,
    ProjectId,
    Replace,
    named_path,
    notation_from,
    services_from,
)
from backend.errors import BadRequest
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.datasets.export import Exported
    from backend.services import Services

FROM_ANNOTATIONS = "from-annotations"
FromOne = Annotated[bool, typer.Option("--one-based", help="Count pixels from 1, inclusive.")]
Predictions = Annotated[
    bool, typer.Option("--predictions", help="Also images that nobody corrected yet.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("import")(import_)
    export = typer.Typer(help="Write a project's boxes or counts.", no_args_is_help=True)
    export.command("voc")(export_voc)
    export.command("csv")(export_csv)
    export.command("counts")(export_counts)
    app.add_typer(export, name="export")


def import_(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of images (TIFF, PNG, JPEG).", parser=named_path),
    ],
    project: ProjectId = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="Folder of Pascal VOC files, or a CSV of boxes; they become annotations.",
            **NAMED,
        ),
    ] = None,
    mapping: Map = None,
    classes: Annotated[
        str, typer.Option(help=f"{FROM_ANNOTATIONS}: the project gets the classes of these.")
    ] = "",
    pages: Annotated[Literal["first", "all"], typer.Option(help="Of a many-page TIFF.")] = "first",
    one_based: OneBased = False,
    home: Home = None,
) -> None:
    """Bring a folder of images into a project.

    Run again, it goes on where it stopped.
    """
    if classes not in ("", FROM_ANNOTATIONS):
        raise BadRequest(f"--classes takes {FROM_ANNOTATIONS}; to rename a class use --map OLD=NEW")
    from backend.datasets.importing import import_folder

    services, id = _services(home, project)
    with progress("Importing") as advance:
        done = import_folder(
            services,
            id,
            folder,
            annotations,
            notation_from(mapping, one_based),
            pages=pages,
            classes_from_annotations=classes == FROM_ANNOTATIONS,
            on_progress=lambda number, total, name: advance(number / total, name),
            on_wait=lambda: say(f"Waiting for another import into project {id} to end …"),
        )
    warn(done.notes)
    tell(
        f"{counted(done.tasks, 'new task')}, {done.annotated} of the tasks annotated; "
        f"there already: {counted(done.known, 'image')}; twice in the folder: {done.doubled}; "
        f"unreadable: {len(done.unreadable)}"
    )


def export_voc(
    out: Annotated[Path, typer.Option(help="A new folder, or a file that ends in .zip.", **NAMED)],
    project: ProjectId = None,
    one_based: FromOne = False,
    predictions: Predictions = False,
    images: Annotated[bool, typer.Option(help="Put the raw images into it.")] = True,
    replace: Replace = False,
    home: Home = None,
) -> None:
    """Write a Pascal VOC file for each corrected image, and the image."""
    from backend.datasets import export, writing

    writing.require_new(out, replace)
    services, id = _services(home, project, to_read=True)
    say("Writing …")
    done = export.export_voc(
        services, id, out, one_based, corrected_only=not predictions, with_images=images
    )
    _tell(done, out)


def export_csv(
    out: Annotated[Path, typer.Option(help="The CSV file.", **NAMED)],
    project: ProjectId = None,
    one_based: FromOne = False,
    predictions: Predictions = False,
    replace: Replace = False,
    home: Home = None,
) -> None:
    """Write the boxes of all corrected images as one CSV.

    Its columns are filename,width,height,class,xmin,ymin,xmax,ymax.
    """
    from backend.datasets import export, writing

    writing.require_new(out, replace)
    services, id = _services(home, project, to_read=True)
    _tell(export.export_csv(services, id, out, one_based, corrected_only=not predictions), out)


def export_counts(
    out: Annotated[Path, typer.Option(help="The CSV file.", **NAMED)],
    project: ProjectId = None,
    replace: Replace = False,
    home: Home = None,
) -> None:
    """Write the cells of each image, counted by class, as CSV."""
    from backend.datasets import export, writing

    writing.require_new(out, replace)
    services, id = _services(home, project, to_read=True)
    _tell(export.export_counts(services, id, out), out)


def _services(
    home: Path | None, project: int | None, *, to_read: bool = False
) -> tuple[Services, int]:
    services = services_from(home, to_read=to_read)
    return services, choosing.choose_project(services.projects, project).id


def _tell(done: Exported, out: Path) -> None:
    warn(done.notes)
    images = counted(done.images, "image")
    if done.uncounted:
        images = f"{done.images - done.uncounted} of {images} with a count"
    tell(f"{images}, {counted(done.boxes, 'box')}: {out}")
    tell(*done.sums)
