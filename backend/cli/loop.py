"""The commands that run the loop: up, connect, web, worker, status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.console import tell, warn
from backend.cli.options import LARGEST_NUMBER, NAMED, AsJson, Home, services_from, settings_from
from backend.errors import BadRequest
from model.wording import counted

if TYPE_CHECKING:
    from backend.running.status import ProjectStatus, Status


def up(
    images: Annotated[
        Path | None,
        typer.Option(help="Make a project of this folder (TIFF, PNG, JPEG).", **NAMED),
    ] = None,
    home: Home = None,
    port: Annotated[
        int | None, typer.Option(help="Of Cytoloop; kept.", show_default="9090")
    ] = None,
    label_studio_port: Annotated[
        int | None, typer.Option(help="Of Label Studio; kept.", show_default="8080")
    ] = None,
) -> None:
    """Run the whole loop on this machine until Ctrl-C.

    Without --images, with a demo project.
    """
    from backend.misspelt import unknown_variables
    from backend.running.loop import run_loop

    warn(unknown_variables())
    # It has no device option: the environment's device is checked before anything starts.
    chosen = {"port": port, "label_studio_port": label_studio_port, "device": None}
    run_loop(settings_from(home=home, **chosen), images)


def _address(told: str) -> str:
    from backend.settings import address_in

    try:
        return address_in(told)
    except ValueError as error:
        raise BadRequest(f"--url cannot be {told!r}: {error}.") from error


def connect(
    project: Annotated[
        int,
        typer.Option(min=0, max=LARGEST_NUMBER, help="Number of the project, as in its address."),
    ],
    url: Annotated[
        str,
        typer.Option(
            callback=_address,
            help="Address of a Label Studio that runs.",
            envvar="CYTOLOOP_LABEL_STUDIO_URL",
            show_default="the one known",
        ),
    ] = "",
    token: Annotated[
        str,
        typer.Option(
            help="Its access token (Account & Settings).",
            envvar="CYTOLOOP_LABEL_STUDIO_TOKEN",
            show_default="the one known",
        ),
    ] = "",
    home: Home = None,
) -> None:
    """Attach a project of a Label Studio that already runs."""
    from backend.running.connect import connect as attach_to

    tell(attach_to(settings_from(home=home), url, token, project))


def web(home: Home = None) -> None:
    """Run Cytoloop's web server alone."""
    import os

    from backend.running.ours import environment, web_command
    from backend.settings import PACKAGE_ROOT

    settings = settings_from(home=home)
    command = web_command(settings)
    os.chdir(PACKAGE_ROOT)
    variables = {**os.environ, **environment(settings)}
    os.execve(command[0], command, variables)  # noqa: S606 - gunicorn takes this one's place


def worker(home: Home = None) -> None:
    """Run one worker, which trains and pushes predictions, alone."""
    import os

    from backend.jobs import run_worker

    if home is not None:  # jobs are separate processes, which read the environment
        os.environ["CYTOLOOP_HOME"] = str(settings_from(home=home).home)
    run_worker()


def status(
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show what runs, and how each project stands.

    That is its champion, its corrected images, what is wrong with it and its runs.
    """
    from backend.running.status import status_of

    found = status_of(services_from(home, to_read=True))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1))
    else:
        _print(found)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (up, status, connect, web, worker):
        app.command(command.__name__)(command)


def _print(found: Status) -> None:
    for service in found.services:
        tell(f"{'✓' if service.answers else '✗'} {service.name:<13} {service.where}")
    for project in found.projects:
        tell("", f"Project {project.id}: {project.title}")
        for line in _project_lines(project):
            tell(f"  {line}")


def _project_lines(project: ProjectStatus) -> list[str]:
    following = f"; learns next at {project.next_milestone}" if project.next_milestone else ""
    lines = [
        f"champion   {project.champion or 'cannot be read: cytoloop models list says why'}",
        f"corrected  {counted(project.corrected, 'image')}{following}",
    ]
    if project.problem:
        lines.append(f"problem    {project.problem}")
    for run in project.runs:
        by = "" if run["trigger"] == "milestone" else " by the button"
        going = f", {run['stage']} {run['fraction']:.0%}" if run["state"] == "running" else ""
        at = f"run {run['job']:<6} at {counted(run['corrected'] or run['milestone'], 'image')}{by}"
        said = run["message"].partition("\n")[0]
        lines.append(f"{at}: {run['state']}{going} {said}".rstrip())
    return lines
