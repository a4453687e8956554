"""`cytoloop evaluate`: a version's boxes against the true ones of a folder, without a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.cli import choosing, worth
from backend.cli.console import progress, say, tell, warn
from backend.cli.folder import read_folder, say_what_is_there, tell_what_is_odd
from backend.cli.options import (
    NAMED,
    Annotations,
    CellDiameter,
    ChampionOf,
    Device,
    Home,
    Images,
    Map,
    Model,
    OneBased,
    notation_from,
    settings_from,
)
from backend.errors import BadRequest
from model.wording import Naming, counted

if TYPE_CHECKING:  # too slow for --help
    from backend.datasets.folder import LabelledFolder
    from model.labels.examples import LabelledImage
    from model.reports import EvaluationReport
    from model.versions import ModelVersion


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(evaluate)


def evaluate(
    images: Images,
    annotations: Annotations,
    model: Model = None,
    project: ChampionOf = None,
    mapping: Map = None,
    one_based: OneBased = False,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Leave out the images that the version has seen.")
    ] = False,
    cell_diameter: CellDiameter = None,
    device: Device = None,
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures as JSON.")] = False,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw curve, counts, reliability and parts into this PNG file.", **NAMED),
    ] = None,
) -> None:
    """Compare a version's boxes with the true ones."""
    from backend.datasets.classes import check_classes
    from backend.datasets.pictures import require_picture_place
    from model.judging.counting import counts_of_classes
    from model.judging.evaluation import evaluate_version

    if picture:
        require_picture_place(picture)
    settings = settings_from(home=home, device=device)
    registry = settings.open_registry()
    owner = choosing.named_project(settings, project)
    choice = choosing.choose_version(registry, model, owner)
    diameter = choosing.choose_cell_diameter(registry, choice, cell_diameter)
    version = choice.version
    folder = read_folder(images, annotations, notation_from(mapping, one_based))
    if version.classes:
        others = "choose a version of these classes with --model ID"
        check_classes(folder.classes, version.classes, version.id, or_else=others)
    tell_what_is_odd(folder)
    say_what_is_there(folder)
    judged, seen = _judged(folder, version, unseen)
    loaded = registry.load(version.id, settings.device).with_cell_diameter(diameter)
    classes = version.classes or folder.classes
    unnamed = _without_classes(version, classes)
    warn(unnamed)
    calibration = choosing.calibration_of(registry, choice)
    with progress("Finding cells") as advance:
        report = evaluate_version(loaded, judged, classes, calibration=calibration, advance=advance)
    if as_json:
        notes = [*folder.notes, *folder.notes_on_aside, *unnamed]
        extra: dict[str, Any] = {
            "version": version.id,
            "seen": seen,
            "notes": notes,
            "names": [image.name for image in judged],
            "count_by_class": {n: asdict(c) for n, c in counts_of_classes(report).items()},
        }
        typer.echo(json.dumps(extra | report.to_json(), indent=1))
    else:
        tell(*worth.report_text(report).split("\n"))
    if picture:
        _draw(report, f"{version.id} on {counted(len(judged), 'image')} of {images}", picture)


def _judged(
    folder: LabelledFolder, version: ModelVersion, unseen: bool
) -> tuple[list[LabelledImage], list[str]]:
    """Return the images to judge a version by, and the names of those that it has seen."""
    images = folder.guarded
    if not images:
        raise BadRequest("All boxes of all images look wrong: there is nothing to judge by.")
    seen = [image.name for image in images if image.sha256 in version.lineage]
    judged = [image for image in images if not (unseen and image.name in seen)]
    if not judged:
        raise BadRequest(f"{version.id} has seen every image of the folder: give others.")
    if seen:
        fate = "left out" if unseen else "the figures flatter it"
        before = f"{version.id} learned from or was chosen by these, {fate}: "
        warn([Naming.of(seen, before)])
    return judged, seen


def _without_classes(version: ModelVersion, classes: Sequence[str]) -> list[str]:
    """Say which figures mean nothing if a version without classes is judged by several."""
    if version.classes or len(classes) < 2:
        return []
    return [
        f"{version.id} knows no classes: all its boxes are taken for {classes[0]}, so figures by "
        'class and their mean say nothing; those of "any class" do'
    ]


def _draw(report: EvaluationReport, title: str, picture: Path) -> None:
    from backend.datasets.pictures import write_picture
    from backend.datasets.report_figures import draw_report

    write_picture(picture, draw_report(report, title))
    say(f"Drawn in {picture}")
