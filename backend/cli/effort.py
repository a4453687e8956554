"""`cytoloop effort`: how much work the served boxes were, and whether more labelling pays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli import choosing
from backend.cli.console import tell
from backend.cli.options import LARGEST_NUMBER, AsJson, Home, services_from
from backend.columns import aligned
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.effort.forecasting import Forecast
    from backend.effort.report import EffortReport
    from backend.effort.tally import Tally, Watchfulness

COLUMNS = (
    "",
    "images",
    "cells",
    "kept",
    "moved",
    "relabelled",
    "deleted",
    "added",
    "actions/cell",
    "s/cell",
    "IoU≥0.75",
    "IoU≥0.9",
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("effort")(effort)


def effort(
    project: Annotated[
        int | None,
        typer.Argument(
            min=0, max=LARGEST_NUMBER, help="Number of the project.", show_default="the only one"
        ),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show how much work each cell was, and what was saved.

    Also what more labelling would bring.
    """
    from backend.effort.report import effort_of

    services = services_from(home, to_read=True)
    chosen = choosing.choose_project(services.projects, project)
    report = effort_of(services, chosen.id)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1))
    else:
        tell(*effort_text(report).split("\n"))


def effort_text(report: EffortReport) -> str:
    """Return the report in words and a table; docs/effort.md explains the figures."""
    lines = [f"Project {report.project.id}: {report.project.title}"]
    if not (report.by_version or report.watched or report.reviewed):
        return "\n".join([*lines, "  Nothing was corrected yet, so there is nothing to measure."])
    lines += [f"  {line}" for line in _words(report)]
    for title, parts in (
        ("served by", report.by_version),
        ("annotator", report.by_annotator),
        ("contrast", report.by_group),
    ):
        if parts:
            lines += ["", *_table(title, parts)]
    if report.watched:
        lines += ["", *_watched_table(report.watched)]
    return "\n".join(lines)


def _words(report: EffortReport) -> list[str]:
    from backend.effort.wording import seconds_line, work_lines

    told = work_lines(report.work)
    if report.timed:
        told.append(seconds_line(report.costs, report.timed))
    lines = [f"{heading:11}{words}" for heading, words in told]
    lines += forecast_words(report.forecast)
    if report.imported:
        brought = counted(report.imported, "annotation")
        lines.append(f"left out   {brought} imported, or accepted without being opened")
    if report.reviewed:
        them = f"{counted(report.reviewed, 'annotation')} that somebody else changed last"
        lines.append(f"reviewed   {them}: in no annotator's figures")
    if report.doubts:
        lines.append(
            f"doubtful   Label Studio says otherwise of {counted(report.doubts, 'box')}: there it "
            "is not sure which boxes were on the screen"
        )
    return lines


def forecast_words(coming: Forecast | str) -> list[str]:
    """Return a line or two on what the next milestone is expected to bring."""
    if isinstance(coming, str):
        return [f"expected   {coming}"]
    verdicts = {
        "go on": f"label on, to about {coming.enough_at} images",
        "unsure": "the corrections are too few or too uneven to say whether more labelling teaches "
        "it more",
        "stop": "the detector has learned nearly all that such images teach: more labelling for "
        "its sake does not pay",
    }
    return [
        f"expected   {coming.then:.2f} corrections a cell after {coming.at} images "
        f"(95 %: {coming.between.low:.2f} to {coming.between.high:.2f}), now {coming.now:.2f}",
        f"advice     {verdicts[coming.verdict]}",
    ]


def _table(title: str, parts: dict[str, Tally]) -> list[str]:
    return aligned([(title, *COLUMNS[1:]), *(_row(name, tally) for name, tally in parts.items())])


def _watched_table(watched: dict[str, Watchfulness]) -> list[str]:
    headings = ("annotator", "found without boxes", "found beside boxes", "false boxes rejected")
    rows: list[tuple[str, ...]] = [headings]
    for name, found in watched.items():
        counts = (found.drawn("blank"), found.drawn("fault"), found.rejected)
        rows.append((name, *(share_text(*pair) for pair in counts)))
    images = sum(len(found.corrections) for found in watched.values())
    seen = f"{counted(images, 'image')} opened blank or with a planted fault"
    return [f"Watched: {seen}; in no figure above", *aligned(rows)]


def share_text(part: int, whole: int) -> str:
    """Return how many of how many, and the interval of the share if there are enough."""
    from backend.effort.tally import FEWEST_CHANCES, share_interval

    sure = share_interval(part, whole)
    if sure is None:
        return "–"
    told = f" (95 %: {sure.low:.0%} to {sure.high:.0%})" if whole >= FEWEST_CHANCES else ""
    return f"{part} of {whole}{told}"


def _row(name: str, tally: Tally) -> tuple[str, ...]:
    from backend.effort.tally import TIGHT, VERY_TIGHT

    counts = (tally.images, tally.cells, *vars(tally.actions).values())
    return (
        name,
        *map(str, counts),
        _figure(tally.effort, "{:.2f}"),
        _figure(tally.seconds_per_cell, "{:.1f}"),
        _figure(tally.share_at(TIGHT), "{:.0%}"),
        _figure(tally.share_at(VERY_TIGHT), "{:.0%}"),
    )


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
