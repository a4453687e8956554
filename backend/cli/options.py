"""The options that several commands share, each with one name and one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from backend.settings import Settings

Home = Annotated[
    Path | None, typer.Option(help="Where everything is kept.", show_default="~/.cytoloop")
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", help="Rename a class, OLD=NEW, such as N=Nucleus. May be repeated."),
]
OneBased = Annotated[
    bool, typer.Option("--one-based", help="The annotations count pixels from 1, inclusive.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Id of a version (`cytoloop models list`).",
        show_default="the project's champion, without --project that of the only one that has one, "
        "else the newest trained that was not refused, else the starter",
    ),
]
CellDiameter = Annotated[
    float | None,
    typer.Option(
        min=1,
        max=10_000,
        help="Typical diameter of a cell in pixels, for a version that never learned it.",
        show_default="found in each image",
    ),
]
ProjectId = Annotated[
    int | None, typer.Option("--project", help="Number of the project.", show_default="the only")
]


def settings_from(**chosen: Any) -> Settings:
    """Return the settings of the environment, the options given taking precedence."""
    from backend.settings import Settings

    return Settings(**{name: value for name, value in chosen.items() if value is not None})
