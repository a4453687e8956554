"""`cytoloop replay`: what correcting a labelled folder image by image would have cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.console import progress, say, tell, warn
from backend.cli.options import (
    LARGEST_NUMBER,
    NAMED,
    Device,
    Home,
    Images,
    Map,
    OneBased,
    notation_from,
    services_from,
    settings_from,
)
from backend.errors import BadRequest
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.replay.ledger import Ledger, Row
    from backend.replay.playing import LabelledSet, Play
    from backend.settings import Settings
    from model.keeping.registry import Registry


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("replay")(replay)


def replay(
    images: Images,
    annotations: Annotated[
        Path, typer.Option(help="Folder of their VOC files, or a CSV of boxes: the truth.", **NAMED)
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the table, the curve and all that is kept.", **NAMED)
    ],
    number: Annotated[
        int, typer.Option("--images-played", min=0, help="0: all of them.", show_default="all")
    ] = 0,
    live: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_NUMBER,
            help="Play in this project of the running `cytoloop up`, over HTTP.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Id of a version to begin with.", show_default="as CYTOLOOP_FIRST_VERSION"
        ),
    ] = None,
    lag: Annotated[
        int, typer.Option(min=0, help="Images corrected while a run goes on, 0: wait for it.")
    ] = 0,
    floor: Annotated[
        int, typer.Option(min=0, help="Folds of the floor: the detector cross-validated; 0: none.")
    ] = 0,
    misses: Annotated[
        float, typer.Option(min=0, max=1, help="Share of unserved cells that are not drawn.")
    ] = 0.0,
    accepts: Annotated[
        float, typer.Option(min=0, max=1, help="Share of false boxes that are left.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Which of them.")] = 0,
    mapping: Map = None,
    one_based: OneBased = False,
    device: Device = None,
    home: Home = None,
) -> None:
    """Play an annotator with the truth of a labelled folder.

    Run again, it goes on. Without --live all happens in this process, in a home of its own under
    --out: the same store, training, gate and predictions, without Label Studio.

    A served box is on a cell from IoU 0.5 on, one to one. It is kept from IoU 0.75 on or with every
    edge within 2 px, else moved to the truth. Other boxes are deleted, other cells drawn.
    """
    from backend.datasets.folder import labelled_folder
    from backend.datasets.result_folder import require_empty
    from backend.logs import configure_logging
    from backend.replay.correcting import Carelessness
    from backend.replay.ledger import TABLE, kept_beside
    from backend.replay.playing import LabelledSet, Play, in_drawn_order

    configure_logging("ERROR")  # what a run reports is in the store; a failure is reported here
    if live is not None and (start or floor):
        raise BadRequest("--start and --floor are of the form in process: leave out --live.")
    if floor == 1:
        raise BadRequest("--floor cross-validates: it needs at least 2 folds, or 0 for none.")
    settings = settings_from(home=home, device=device)
    require_empty(out, (TABLE, kept_beside(Path(TABLE)).name))
    notation = notation_from(mapping, one_based)
    folder = labelled_folder(images, annotations, notation)
    warn(folder.notes)
    played = LabelledSet(in_drawn_order(folder.images)[: number or None], folder.classes)
    careless = Carelessness(misses, accepts, seed)
    how = Play(careless, notation, lag, floor, _begin_with(start, settings))
    _tell(out, *_played(settings, out, played, how, live))


def _begin_with(start: str | None, settings: Settings) -> tuple[str, Registry] | None:
    if start is None:
        return None
    registry = settings.open_registry()
    return registry.get(start).id, registry


def _played(
    settings: Settings, out: Path, labelled: LabelledSet, how: Play, live: int | None
) -> tuple[Sequence[Row], Sequence[Row]]:
    """Play what is not played yet; return the rows of the images, and those of the floor."""
    from backend.replay.floor import cross_validated
    from backend.replay.ledger import FLOOR_TABLE, TABLE, Ledger
    from backend.replay.paper import play_on_paper

    ledger, below = Ledger(out / TABLE), Ledger(out / FLOOR_TABLE)
    if live is None:
        rows = play_on_paper(_at(out / "home", settings), labelled, ledger, how)
    else:
        rows = _live(settings, live, labelled, ledger, how)
    _show("Replaying", rows, len(labelled.images))
    if how.folds:
        rows = cross_validated(_at(out / "floor", settings), labelled, below, how)
        _show("Floor", rows, len(labelled.images))
    return ledger.rows, below.rows


def _at(home: Path, settings: Settings) -> Settings:
    return settings.model_copy(update={"home": home.resolve()})


def _live(
    settings: Settings, project: int, labelled: LabelledSet, ledger: Ledger, how: Play
) -> Iterator[Row]:
    from backend.replay.live import LiveDesk
    from backend.replay.playing import play

    services = services_from(settings.home)
    desk = LiveDesk(services, services.projects.get(project), how.lag)
    ledger.keep_to(desk.chosen(how))
    return play(desk, labelled.images, ledger, how)


def _show(title: str, rows: Iterator[Row], images: int) -> None:
    with progress(title) as advance:
        for row in rows:
            corrections = counted(row.actions.number, "correction")
            doing = f"{corrections} of {counted(row.cells, 'cell')} by {row.served}"
            advance(row.number / images, doing)


def _tell(out: Path, rows: Sequence[Row], floor: Sequence[Row]) -> None:
    from backend.datasets.writing import write_whole
    from backend.replay.figures import curve_svg, table_of
    from backend.replay.ledger import TABLE, effort_of_rows

    tell(*table_of(rows).split("\n"))
    if floor:
        tell("", "floor", *table_of(floor).split("\n"))
    below = effort_of_rows(floor) if floor else None
    title = f"Actions a cell, image by image: {effort_of_rows(rows):.3f} over all"
    curve = out / "curve.svg"
    write_whole(curve, curve_svg(rows, title, below).encode())
    say(f"Written: {out / TABLE} and {curve}")
