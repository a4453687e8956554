"""Options shared by several commands, each with one name and one meaning."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.errors import BadRequest, BadSetting
from backend.numbers import NUMBERS_END
from model.devices import has_cuda

if TYPE_CHECKING:
    from backend.datasets.drawn import Notation
    from backend.services import Services
    from backend.settings import Settings


def named_path(word: str) -> Path:
    """Return the path that a word names; refuse an empty word: it would mean this folder."""
    if not word:
        raise typer.BadParameter(
            "it is empty: name a file or a folder, the one you are in by a dot."
        )
    return Path(word)


#: Keywords for each argument or option that is a path.
NAMED: Any = {"parser": named_path, "metavar": "<path>"}
Home = Annotated[
    Path | None,
    typer.Option(help="Where everything is kept.", show_default="~/.cytoloop", **NAMED),
]
Images = Annotated[Path, typer.Option(help="Folder of the images.", **NAMED)]
Annotations = Annotated[
    Path,
    typer.Option(
        help="Folder of their Pascal VOC files, of equal stems; or a CSV of boxes.", **NAMED
    ),
]
ImagePaths = Annotated[
    list[Path], typer.Argument(help="Images, or folders of images.", parser=named_path)
]
Results = Annotated[
    Path, typer.Option(help="A folder for the results: new, empty, or begun before.", **NAMED)
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help="Rename a class, OLD=NEW, such as N=Nucleus. Where a name has an = itself, take one = "
        "more, OLD==NEW, with blanks about it beside an = of a name. May be repeated.",
    ),
]


def parse_mapping(pairs: list[str]) -> dict[str, str]:
    """Read ``N=Nucleus`` pairs, split at the longest run of ``=``, the last of equally long ones.

    Raises
    ------
    BadRequest
        A pair does not have the form OLD=NEW.
    """
    mapping = {}
    for pair in pairs:
        between = max(re.findall("=+", pair), key=len, default="=")
        old, _, new = (part.strip() for part in pair.rpartition(between))
        if not old or not new:
            raise BadRequest(f"--map wants OLD=NEW, such as N=Nucleus, not {pair!r}.")
        mapping[old] = new
    return mapping


OneBased = Annotated[
    bool, typer.Option("--one-based", help="The annotations count pixels from 1, inclusive.")
]


def notation_from(mapping: list[str] | None, one_based: bool) -> Notation:
    """Return how annotations are written, given ``Map`` and ``OneBased``."""
    from backend.datasets.drawn import Notation

    return Notation(parse_mapping(mapping or []), one_based)


Replace = Annotated[bool, typer.Option("--replace", help="Replace the file that is there.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.", show_default="auto")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Id of a version (`cytoloop models list`).",
        show_default="the project's champion, without --project that of the only one that has one, "
        "else the newest trained that was neither refused nor rolled back, else the starter",
    ),
]
#: The smallest and the largest cell diameter that can be given, in pixels.
_SMALLEST_CELL_PX, _LARGEST_CELL_PX = 1, 10_000
DIAMETERS = f"{_SMALLEST_CELL_PX} to {_LARGEST_CELL_PX:,} pixels"


def require_diameter(told: float | None) -> float | None:
    """Return a given cell diameter; None if none was given.

    Raises
    ------
    BadRequest
        It is no number, or no cell is that small or large.
    """
    if told is None or _SMALLEST_CELL_PX <= told <= _LARGEST_CELL_PX:
        return told
    raise BadRequest(f"--cell-diameter takes {DIAMETERS}, not {told:g}.")


CellDiameter = Annotated[
    float | None,
    typer.Option(
        callback=require_diameter,
        help=f"Typical diameter of a cell, {DIAMETERS}, for a version that never learned it.",
        show_default="found in each image",
    ),
]
#: The largest number that a project or a run may have in the store.
LARGEST_NUMBER = NUMBERS_END - 1
ProjectId = Annotated[
    int | None,
    typer.Option(
        "--project",
        min=0,
        max=LARGEST_NUMBER,
        help="Number of the project.",
        show_default="the only",
    ),
]
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
AsJson = Annotated[bool, typer.Option("--json", help="For a program to read.")]


def settings_from(**chosen: Any) -> Settings:
    """Return the environment's settings; given options take precedence.

    Raises
    ------
    BadSetting
        A setting cannot be used, or a command that passes ``device`` (even None) would compute on a
        CUDA device and there is none.
    """
    from backend.settings import Settings

    settings = Settings(**{name: value for name, value in chosen.items() if value is not None})
    if "device" in chosen and settings.device == "cuda" and not has_cuda():
        raise BadSetting("There is no CUDA device for this process: take the device auto or cpu.")
    return settings


def services_from(home: Path | None, *, to_read: bool = False) -> Services:
    """Return the parts of the installation in a home.

    Parameters
    ----------
    to_read
        As in ``build_services``.

    Raises
    ------
    BadSetting
        There is no such home: a mistyped one must not be made.
    """
    from backend.services import build_services

    settings = settings_from(home=home)
    if not settings.home.exists():
        raise BadSetting(
            f"There is no home at {settings.home}: `cytoloop up` makes one. If it is elsewhere, "
            "correct --home or CYTOLOOP_HOME."
        )
    return build_services(settings, to_read=to_read)
