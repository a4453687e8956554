"""`cytoloop preprocess`: contrast groups of a folder of images, automatic and without a model.

Three commands do what Tare 2020 sorted and matched by hand (§5.3, §5.4).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from backend.cli.console import progress, say, tell, warn
from backend.cli.options import NAMED, Replace, named_path
from backend.errors import BadRequest
from model.wording import counted
from preprocessing.contrast import MOST_GROUPS, ContrastConfig, ContrastMode, TemplateKind

if TYPE_CHECKING:  # too slow for --help
    from backend.datasets.contrast import Bits

Folder = Annotated[
    Path, typer.Argument(help="Folder of the images.", metavar="DIR", parser=named_path)
]
GroupsFile = Annotated[
    Path, typer.Option("--groups", help="The file that `preprocess fit` wrote.", **NAMED)
]
NPZ = ".npz"
#: The kinds of template that need no named image.
_COMPUTED = tuple(kind for kind in get_args(TemplateKind) if kind != "image")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    preprocess = typer.Typer(
        help="Sort images by contrast and match them, without a model.", no_args_is_help=True
    )
    for command in (fit, apply, figure):
        preprocess.command()(command)
    app.add_typer(preprocess, name="preprocess")


def fit(
    folder: Folder,
    out: Annotated[
        Path, typer.Option(help="The groups; a picture is put beside them.", **NAMED)
    ] = Path("groups.npz"),
    mode: Annotated[
        ContrastMode,
        typer.Option(help="none: stretch only; single: one template; flat: even light first."),
    ] = "groups",
    groups: Annotated[
        int, typer.Option(min=1, max=MOST_GROUPS, help="The most groups there may be.")
    ] = 3,
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="barycentre, medoid, or an image's path; several images: each group the nearest.",
            show_default="barycentre",
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="How far to go, 0 stretch to 1 template.")
    ] = 1.0,
    gain_limit: Annotated[
        float | None, typer.Option(help="Steepest change, in multiples of the stretch's.")
    ] = None,
    replace: Replace = False,
) -> None:
    """Sort a folder's images into contrast groups.

    Each group gets a template.
    """
    from backend.datasets.contrast import fit_folder, picture_of
    from backend.datasets.finding import find_images, others_in
    from backend.datasets.pictures import write_picture
    from backend.datasets.writing import partial_file

    picture = _picture_beside(out, replace)
    kind, named = _template(template or ["barycentre"])
    config = _config(mode, kind, groups, strength, gain_limit)
    files, misnamed = find_images(folder)
    with progress("Reading") as advance:
        fitted = fit_folder(files, config, named, advance)
    warn([*others_in(folder).notes(), *misnamed, *fitted.notes])
    with partial_file(out) as partial:
        fitted.groups.save(partial)
    write_picture(picture, picture_of(fitted))
    for name in fitted.groups.names:
        tell(f"{name:<8} {counted(len(fitted.members(name)), 'image')}")
    say(
        f"Kept in {out}, a picture in {picture}; then: cytoloop preprocess apply DIR --groups {out}"
    )


def _picture_beside(out: Path, replace: bool) -> Path:
    """Return the path of the groups' picture; refuse to overwrite it or the groups."""
    from backend.datasets.pictures import PNG, require_picture_place
    from backend.datasets.writing import require_new, require_no_folder

    require_no_folder(out)
    if out.suffix != NPZ:
        raise BadRequest(f"--out {out}: groups are kept as {NPZ}, such as {out.with_suffix(NPZ)}.")
    require_new(out, replace)
    picture = out.with_suffix(PNG)
    require_picture_place(picture)
    return picture


def apply(
    folder: Folder,
    groups: GroupsFile,
    out: Annotated[
        Path, typer.Option(help="A new or empty folder for the matched images.", **NAMED)
    ],
    bits: Annotated[int, typer.Option(help="8 or 16 bits a pixel.")] = 8,
    format: Annotated[Literal["png", "tiff"], typer.Option(help="Of the files.")] = "png",
) -> None:
    """Write a folder's images as a detector sees them.

    Beside them, contrast.csv lists each image's group, distance and flags.
    """
    from backend.datasets.contrast import TABLE, match_into
    from backend.datasets.finding import find_images, others_in
    from preprocessing.groups import ContrastGroups

    if bits not in (8, 16):
        raise BadRequest(f"--bits is 8 or 16, not {bits}.")
    files, misnamed = find_images(folder)
    loaded = ContrastGroups.load(groups)
    with progress("Matching") as advance:
        done = match_into(out, files, loaded, cast("Bits", bits), format, advance)
    warn([*others_in(folder).notes(), *misnamed, *done.notes])
    tell(f"{counted(done.images, 'image')}: {out / TABLE}")


def figure(
    images: Annotated[
        list[Path],
        typer.Argument(help="A row for each image.", metavar="IMAGE...", parser=named_path),
    ],
    groups: GroupsFile,
    out: Annotated[Path, typer.Option(help="The figure.", **NAMED)] = Path("figure.png"),
) -> None:
    """Draw images before and after matching, each with its histogram."""
    from backend.datasets import histogram_figures
    from backend.datasets.naming import shown
    from backend.datasets.pictures import require_picture_place, write_picture
    from preprocessing.groups import ContrastGroups
    from preprocessing.images import read_image

    require_picture_place(out)
    loaded = ContrastGroups.load(groups)
    rows = [
        histogram_figures.before_and_after(shown(path.name), read_image(path), loaded)
        for path in images
    ]
    write_picture(out, histogram_figures.draw(rows))
    tell(str(out))


def _template(words: list[str]) -> tuple[TemplateKind, list[Path]]:
    """Return the kind of template, and the images named as templates."""
    if words[0] in _COMPUTED and len(words) == 1:
        return cast("TemplateKind", words[0]), []
    paths = [Path(word) for word in words]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise BadRequest(
            f"--template is barycentre, medoid or an image; there is no file {', '.join(missing)}."
        )
    return "image", paths


def _config(
    mode: ContrastMode,
    template: TemplateKind,
    groups: int,
    strength: float,
    gain_limit: float | None,
) -> ContrastConfig:
    try:
        return ContrastConfig(mode, template, groups, strength, gain_limit)
    except ValueError as error:
        raise BadRequest(f"That cannot be: {error}.") from error
