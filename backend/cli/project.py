"""`cytoloop project`: the choices for one project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.cli import choosing
from backend.cli.console import say, tell, warn
from backend.cli.options import DIAMETERS, Home, ProjectId, require_diameter, services_from
from backend.errors import BadRequest, QueueError

if TYPE_CHECKING:  # too slow for --help
    from backend.services import Services

Milestones = Annotated[
    str | None,
    typer.Option(
        help="Numbers of corrected images at which a run starts, such as 5,10,20; "
        '"" returns to the settings.',
        show_default="as they are",
    ),
]
DefaultClass = Annotated[
    str | None,
    typer.Option(
        help="Class of the boxes of a version that does not know the project's classes; "
        '"" chooses by itself.',
        show_default="as it is",
    ),
]

Blind = Annotated[
    bool | None,
    typer.Option(
        "--blind/--with-boxes",
        help="Whether the tasks that are held out open without boxes, so that what judges a "
        "version was not made by correcting one; for tasks that have boxes, with the next version.",
        show_default="as it is",
    ),
]

LeastWork = Annotated[
    bool | None,
    typer.Option(
        "--least-work/--as-counted",
        help="Whether the boxes that are shown are those that take about the least time to "
        "correct, or just those that count.",
        show_default="as it is",
    ),
]

CellDiameter = Annotated[
    float | None,
    typer.Option(
        callback=lambda told: told and require_diameter(told),
        help=f"Typical diameter of a cell, {DIAMETERS}, until the first training learns it from "
        "the corrected boxes; 0: found in each image.",
        show_default="as it is",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("project")(project)


def project(
    milestones: Milestones = None,
    default_class: DefaultClass = None,
    blind: Blind = None,
    least_work: LeastWork = None,
    cell_diameter: CellDiameter = None,
    project: ProjectId = None,
    home: Home = None,
) -> None:
    """Show what is chosen for a project, or change it.

    That is when it learns, what its boxes are, and what judges it.
    """
    from backend.learning.showing import show_anew, tell_cell_diameter

    told = (milestones, default_class, blind, least_work, cell_diameter)
    services = services_from(home, to_read=all(option is None for option in told))
    chosen = choosing.choose_project(services.projects, project)
    if cell_diameter:
        services.registry.champion(str(chosen.id)).require_finds_scale()
    changes: dict[str, Any] = {}
    if milestones is not None:
        changes["milestones"] = _milestones(milestones)
    if default_class is not None:
        changes["default_class"] = default_class or None
    if blind is not None:
        changes["blind"] = blind
    if least_work is not None:
        changes["least_work"] = least_work
    now = services.projects.change(chosen.id, **changes)
    try:
        if least_work is not None:
            show_anew(services, now.id, say)
        if cell_diameter is not None:
            tell_cell_diameter(services, now.id, cell_diameter or None)
    except QueueError as error:  # the choice stands; the open tasks get their boxes later
        warn([str(error)])
    step = services.settings.milestone_step
    beyond = f", then every {step}" if step else ""
    tell(f"Project {now.id}: {now.title}")
    tell(f"  classes        {', '.join(now.classes)}")
    tell(f"  default class  {now.default_class}")
    tell(f"  milestones     {', '.join(map(str, now.milestones))}{beyond}")
    tell(f"  held out       {'opened without boxes' if now.blind else 'opened with boxes'}")
    tell(f"  boxes shown    {'for the least work' if now.least_work else 'as counted'}")
    tell(f"  cell diameter  {_cell_diameter(services, now.id)}")


def _cell_diameter(services: Services, project: int) -> str:
    champion = services.registry.champion(str(project))
    if not champion.finds_scale:
        return "learned from corrected boxes" if champion.classes else "not needed"
    told = services.registry.policy(str(project), champion).cell_diameter_px
    return f"{told:g} px" if told else "found in each image"


def _milestones(text: str) -> tuple[int, ...] | None:
    from backend.settings import milestones_in

    try:
        return milestones_in(text) if text else None
    except ValueError as error:
        raise BadRequest(f"--milestones cannot be {text!r}: {error}.") from error
