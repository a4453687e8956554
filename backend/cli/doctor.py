"""`cytoloop doctor`: what is wrong with an installation, and how to mend it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from backend.cli.console import tell
from backend.cli.options import AsJson, Home, settings_from
from backend.errors import BadSetting

if TYPE_CHECKING:  # too slow for --help
    from collections.abc import Iterator
    from pathlib import Path

    from backend.doctor.findings import Finding

#: Exit code if something does not work; 2 is an error of the command itself.
UNWELL = 1
SIGNS = {
    "ok": ("✓", typer.colors.GREEN),
    "warn": ("!", typer.colors.YELLOW),
    "fail": ("✗", typer.colors.RED),
}
ABOUT_WIDTH = 13


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("doctor")(doctor)


def doctor(
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Look at every part of the installation for what is wrong.

    It says how to mend each fault. Nothing is started or changed. Exits with 1 if something does
    not work.
    """
    found = []
    for finding in _findings(home):
        found.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        typer.echo(json.dumps([finding.to_json() for finding in found], indent=1))
    if any(finding.level == "fail" for finding in found):
        raise typer.Exit(UNWELL)


def _findings(home: Path | None) -> Iterator[Finding]:
    from backend.doctor.examining import examine
    from backend.doctor.findings import fail

    try:
        settings = settings_from(home=home)
    except BadSetting as error:
        yield fail("Settings", str(error), "Or unset it: each has a default.")
    else:
        yield from examine(settings)


def _print(finding: Finding) -> None:
    sign, colour = SIGNS[finding.level]
    typer.secho(sign, fg=colour, nl=False)
    tell(f" {finding.about:<{ABOUT_WIDTH}} {finding.says}")
    if finding.mend:
        tell(f"  {'':<{ABOUT_WIDTH}} → {finding.mend}")
