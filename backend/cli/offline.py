"""`cytoloop train`, `evaluate`, `predict`: the loop's own paths on folders, without a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.cli import choosing, figures
from backend.cli.console import progress, say, warn
from backend.cli.options import (
    LARGEST_NUMBER,
    CellDiameter,
    Device,
    Home,
    Map,
    Model,
    OneBased,
    services_from,
    settings_from,
)
from backend.errors import BadRequest, NotFound
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.cli.choosing import Choice
    from backend.datasets.folder import LabelledFolder
    from backend.settings import Settings
    from backend.store.projects import Project
    from model.keeping.registry import Registry
    from model.labels.examples import DatasetSnapshot, LabelledImage
    from model.progress import Progress
    from model.reports import EvaluationReport
    from model.versions import ModelVersion

Images = Annotated[Path, typer.Option(help="Folder of the images.")]
ChampionOf = Annotated[
    int | None,
    typer.Option(
        "--project",
        min=0,
        max=LARGEST_NUMBER,
        help="Take the champion of this project.",
        show_default="see --model",
    ),
]
Annotations = Annotated[
    Path, typer.Option(help="Folder of their Pascal VOC files, of equal stems; or a CSV of boxes.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (train, evaluate, predict):
        app.command()(command)


def train(
    images: Images,
    annotations: Annotations,
    classes: Annotated[
        str,
        typer.Option(
            help="The classes to learn, A,B; those of the VOC files if not given. One whose name "
            "has a comma is renamed with --map.",
        ),
    ] = "",
    mapping: Map = None,
    one_based: OneBased = False,
    preset: Annotated[
        str | None, typer.Option(help="default, fast, or m03 to m06 (the thesis).")
    ] = None,
    contrast: Annotated[
        str | None,
        typer.Option(
            help="How contrast is seen: stretch, none, single, groups, groups-half or flat.",
            show_default="the preset's own way",
        ),
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps; from the number of images if none.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Id of a version to go on from.",
            show_default="the starter, where the preset is of its kind",
        ),
    ] = None,
    device: Device = None,
    home: Home = None,
) -> None:
    """Train a version on labelled images, and judge it.

    It is judged on those held out that are new to it. A training that was stopped goes on from its
    checkpoint when the command is given again.
    """
    settings = settings_from(
        home=home, device=device, preset=preset, contrast=contrast, iterations=iterations
    )
    settings.make_home()
    registry = settings.open_registry()
    champion = _to_begin_with(start, registry, settings) if start else None
    names = (name.strip() for name in classes.split(","))
    wanted = list(dict.fromkeys(filter(None, names))) or None
    folder = read_folder(images, annotations, mapping, wanted, one_based, whose="--classes")
    snapshot = snapshot_of(folder, tuple(wanted or folder.classes), settings)
    version = _learn(snapshot, registry, champion, settings)
    typer.echo(version.id)
    warn(version.notes)
    if version.report:
        typer.echo(figures.report_text(version.report))
    say(f"Kept in {settings.registry_folder}; try it: cytoloop predict … --model {version.id}")


def _to_begin_with(start: str, registry: Registry, settings: Settings) -> ModelVersion:
    from model.learning import why_no_start

    version = registry.get(start)
    if why := why_no_start(registry, version, settings.recipe[0]):
        raise BadRequest(
            f"--start {start} cannot be: {why}. Give the --preset that it was trained by, or "
            "another version; without --start the first one is begun with, where it fits."
        )
    return version


def _learn(
    snapshot: DatasetSnapshot,
    registry: Registry,
    champion: ModelVersion | None,
    settings: Settings,
) -> ModelVersion:
    from backend.learning.workdir import workdir
    from model.learning import make_candidate

    recipe = [config.to_json() for config in settings.recipe]
    begun = champion.id if champion else registry.first
    with (
        workdir(settings, snapshot.sha256, recipe, begun) as folder,
        progress("Training") as advance,
    ):

        def on_progress(step: Progress) -> None:
            loss = "" if step.loss is None else f"loss {step.loss:.3f}"
            ap50 = "" if step.ap50 is None else f"AP50 {step.ap50:.3f}"
            advance(step.fraction, " ".join(filter(None, (step.stage, loss, ap50, step.message))))

        return make_candidate(
            snapshot,
            registry,
            champion=champion,
            project=None,
            recipe=settings.recipe,
            workdir=folder,
            device=settings.device,
            on_progress=on_progress,
        )


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
        Path | None, typer.Option(help="Draw curve, counts and parts into this PNG file.")
    ] = None,
) -> None:
    """Compare a version's boxes with the true ones."""
    from backend.datasets.pictures import require_picture_place
    from model.judging.evaluation import evaluate_version

    if picture:
        require_picture_place(picture)
    settings = settings_from(home=home, device=device)
    registry = settings.open_registry()
    owner = _project(settings, project)
    choice = choosing.choose_version(registry, model, owner)
    diameter = choosing.choose_cell_diameter(registry, choice, cell_diameter)
    version = choice.version
    known, others = version.classes or None, "choose a version of these classes with --model ID"
    folder = read_folder(
        images, annotations, mapping, known, one_based, whose=version.id, or_else=others
    )
    judged, seen = _judged(folder, version, unseen)
    loaded = registry.load(version.id, settings.device).told(diameter)
    classes = version.classes or folder.classes
    unnamed = _without_classes(version, classes)
    warn(unnamed)
    report = evaluate_version(loaded, judged, classes)
    if as_json:
        notes = [*folder.notes, *folder.notes_on_aside, *unnamed]
        extra: dict[str, Any] = {"version": version.id, "seen": seen, "notes": notes}
        typer.echo(json.dumps(extra | report.to_json(), indent=1))
    else:
        typer.echo(figures.report_text(report))
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
        warn([f"{version.id} learned from or was chosen by these, {fate}: {', '.join(seen)}"])
    return judged, seen


def _without_classes(version: ModelVersion, classes: Sequence[str]) -> list[str]:
    """Say which figures mean nothing of a version without classes that is judged by several."""
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


def predict(
    paths: Annotated[
        # What cannot be read is left out by the reader, and ends no call.
        list[Path], typer.Argument(help="Images, or folders of images.", readable=False)
    ],
    out: Annotated[
        Path, typer.Option(help="A folder for the results: new, empty, or begun before.")
    ],
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

    Each image gets a VOC file and a PNG with the boxes drawn; counts.csv tells the counts of all.
    Stopped and run again, it goes on with the images that are not done.
    """
    from backend.datasets.counting import TABLE
    from backend.datasets.gathering import gather
    from backend.datasets.predicting import predict_into

    settings = settings_from(home=home, device=device)
    registry = settings.open_registry()
    owner = _project(settings, project)
    choice = choosing.choose_version(registry, model, owner)
    diameter = choosing.choose_cell_diameter(registry, choice, cell_diameter)
    version = choice.version
    gathered = gather(paths)
    loaded = registry.load(version.id, settings.device).told(diameter)
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
    typer.echo(f"{cells} in {looked_at}{before}{left_out}: {out / TABLE}{held}")


def _default_class(settings: Settings, owner: Project | None, choice: Choice) -> str:
    """Return what the boxes of a version without classes are called: what its project calls them.

    No database is needed where the version has classes, or comes with no project.
    """
    if owner is None and choice.project is not None and not choice.version.classes:
        with suppress(NotFound, ValueError):  # of a registry that came without its database
            owner = _project(settings, int(choice.project))
    return owner.default_class if owner else settings.default_class


def read_folder(
    images: Path,
    annotations: Path,
    mapping: list[str] | None,
    classes: list[str] | tuple[str, ...] | None,
    one_based: bool,
    tell: bool = True,
    whose: str = "",
    or_else: str = "",
) -> LabelledFolder:
    """Read a labelled folder, showing how far it is and, unless told not to, what was odd."""
    from backend.datasets.folder import labelled_folder

    renamed = choosing.parse_mapping(mapping or [])
    with progress("Reading") as advance:
        folder = labelled_folder(
            images,
            annotations,
            renamed,
            classes,
            one_based,
            on_progress=lambda done, total: advance(done / total, f"{done} of {total} images"),
            whose=whose,
            or_else=or_else,
        )
    if tell:
        _tell_what_is_odd(folder)
    boxes = counted(sum(len(image.boxes) for image in folder.images), "box")
    known = ", ".join(folder.classes) or "no class"
    say(f"{counted(len(folder.images), 'image')}, {boxes}: {known}")
    return folder


def _tell_what_is_odd(folder: LabelledFolder) -> None:
    from model.labels.label_guard import summary

    warn([*folder.notes, *folder.notes_on_aside])
    if folder.aside:
        say(f"{summary(folder.aside)}: set aside, neither learned from nor judged by.")


def snapshot_of(
    folder: LabelledFolder, classes: tuple[str, ...], settings: Settings
) -> DatasetSnapshot:
    """Return what a training on the folder sees, each image on its side for ever."""
    from backend.datasets.sides import FILE_NAME, with_sides
    from model.labels.examples import DatasetSnapshot

    guarded = folder.guarded
    with progress("Looking for images alike") as advance:
        sided = with_sides(
            guarded,
            settings.home / FILE_NAME,
            on_progress=lambda done, total: advance(done / total, f"{done} of {total} images"),
        )
    snapshot = DatasetSnapshot(tuple(sided), classes)
    if not snapshot.of_side("train") or not snapshot.of_side("held-out"):
        raise BadRequest(_too_few(len(guarded)))
    train, held_out = (len(snapshot.of_side(side)) for side in ("train", "held-out"))
    inner = len(sided) - train - held_out
    say(f"{counted(train, 'image')} to learn from, {held_out} held out, {inner} inner")
    if waiting := len(guarded) - len(sided):
        warn([f"{waiting} of the images wait for others to come: sides are dealt in fives"])
    return snapshot


def _too_few(images: int) -> str:
    """Say why so many images cannot be dealt to those that teach and those that judge."""
    from model.labels.sides import FEWEST_OF_FIVE

    if images < FEWEST_OF_FIVE:
        return (
            f"{counted(images, 'image')}: too few to learn from some and judge on others: "
            "label at least three."
        )
    return (
        f"{images} images show too few fields to learn from some and judge on others: images of "
        "one field share a side, and keep it. Label images of at least three fields; `cytoloop "
        "labels check --images DIR` lists those that are alike."
    )


def _project(settings: Settings, wanted: int | None) -> Project | None:
    """Return the project named; None when none was, so that no database is needed offline."""
    if wanted is None:
        return None
    services = services_from(settings.home, to_read=True)
    return choosing.choose_project(services.projects, wanted)
