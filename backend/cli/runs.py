"""`cytoloop runs`: lists and shows the runs, ends or repeats one."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli import console
from backend.cli.options import LARGEST_NUMBER, AsJson, Home, services_from
from model.wording import counted

if TYPE_CHECKING:  # too slow for --help
    from backend.services import Services
    from backend.store.runs import Run

Number = Annotated[int, typer.Argument(min=0, max=LARGEST_NUMBER, help="Number of the run.")]
COLUMNS = ("run", "project", "at", "attempt", "state", "done", "AP50", "left", "what")
FOLLOW_EVERY_S = 0.5


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    runs = typer.Typer(help="List, show, cancel and repeat trainings.", no_args_is_help=True)
    runs.command("list")(list_)
    for command in (show, cancel, retry):
        runs.command(command.__name__)(command)
    app.add_typer(runs, name="runs")


def list_(
    project: Annotated[
        int | None,
        typer.Option(
            min=0, max=LARGEST_NUMBER, help="Only those of this project.", show_default="all"
        ),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List the runs, newest first."""
    services = services_from(home, to_read=True)
    if project is not None:
        services.projects.get(project)  # raises for an unknown one
    found = services.runs.all(project)
    if as_json:
        typer.echo(json.dumps([run.to_json() for run in found], indent=1))
    else:
        console.table(COLUMNS, [_row(run) for run in found])


def show(
    number: Number,
    follow: Annotated[bool, typer.Option("--follow", help="A bar, until it has ended.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show how one run stands, and why it ended as it did."""
    services = services_from(home, to_read=True)
    run = services.runs.get(number)
    if follow:
        run = _follow(services, run)
    if as_json:
        typer.echo(json.dumps(run.to_json(), indent=1))
        return
    for name, text in _facts(run):
        console.tell(f"{name:<11} {text}")


def cancel(number: Number, home: Home = None) -> None:
    """End a run that waits or runs.

    A training stops at its next progress report.
    """
    from backend.learning import triggers

    console.tell(f"Run {triggers.cancel(services_from(home), number).id} is cancelled.")


def retry(number: Number, home: Home = None) -> None:
    """Try the milestone of a run that has ended again.

    It learns from the present corrections, by the preset that the loop was started with.
    """
    from backend.learning import triggers

    run = triggers.retry(services_from(home), number)
    at = counted(run.milestone, "corrected image")
    console.tell(f"Run {run.id} waits: attempt {run.attempt} at {at}.")


def _follow(services: Services, run: Run) -> Run:
    with console.progress(f"Run {run.id}") as advance:
        while run.is_active:
            left = "" if run.seconds_left is None else f" ({_duration(run.seconds_left)} left)"
            advance(run.fraction, f"{run.stage or run.state} {_first_line(run)}{left}")
            time.sleep(FOLLOW_EVERY_S)
            run = services.runs.get(run.id)
    return run


def _row(run: Run) -> tuple[str, ...]:
    return (
        str(run.id),
        str(run.project),
        str(run.milestone),
        str(run.attempt),
        run.state,
        f"{run.fraction:.0%}" if run.is_active else "–",
        _ap50(run),
        _duration(run.seconds_left) if run.is_active else "–",
        f"{run.stage} {_first_line(run)}".strip() if run.is_active else _first_line(run),
    )


def _facts(run: Run) -> list[tuple[str, str]]:
    by = "the button" if run.trigger == "button" else "the milestone"
    facts = [
        ("run", f"{run.id} of project {run.project}"),
        ("opened", f"{run.created_at:%Y-%m-%d %H:%M} UTC by {by}, attempt {run.attempt}"),
        ("at", counted(run.milestone, "corrected image")),
        ("state", run.state),
    ]
    if run.is_active:
        facts += [("stage", run.stage or "–"), ("done", f"{run.fraction:.0%}")]
        facts += [("left", _duration(run.seconds_left))]
    if run.iterations:
        loss = "" if run.loss is None else f", loss {run.loss:.3f}"
        facts.append(("steps", f"{run.iteration} of {run.iterations}{loss}"))
    facts += [
        ("AP50", f"{_ap50(run)}{' so far' if run.is_active and run.ap50 is not None else ''}"),
        ("learned", f"from {counted(run.corrected, 'corrected image')}" if run.corrected else "–"),
        ("candidate", run.candidate or "–"),
        ("champion", run.champion or "–"),
    ]
    return [*facts, *(("", line) for line in run.message.splitlines())]


def _first_line(run: Run) -> str:
    return run.message.partition("\n")[0]


def _ap50(run: Run) -> str:
    return "–" if run.ap50 is None else f"{run.ap50:.3f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
