"""The command `cytoloop`: a thin layer over the parts that the web process and worker use.

Each module of commands has one function ``register(app)``, which adds its commands to the Typer app
(``app.command("up")(up)``). Heavy imports (torch, numpy, SQLAlchemy, Flask, `backend.services`)
stay inside the commands, so that `cytoloop --help` answers in under half a second. Failures are
raised as errors of our own packages; `console.Commands` prints them as one line and exits with code
2. Results go to stdout, all other messages to stderr.
"""

from __future__ import annotations

import os

import typer

from backend.cli import (
    console,
    data,
    doctor,
    effort,
    evaluate,
    labels,
    loop,
    models,
    predict,
    preprocess,
    project,
    replay,
    runs,
    train,
)
from model.threads import wait_quietly


def make_app() -> typer.Typer:
    """Put the command together from its modules."""
    app = typer.Typer(
        name="cytoloop",
        help="Cell counting that learns from every correction.",
        cls=console.Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich's help would take three times as long
    )
    for module in (
        loop,
        doctor,
        project,
        runs,
        effort,
        replay,
        data,
        labels,
        train,
        evaluate,
        predict,
        preprocess,
        models,
    ):
        module.register(app)
    return app


def main() -> None:
    """Run the command `cytoloop`."""
    wait_quietly()
    _spare_this_machine_the_proxy()
    make_app()()


def _spare_this_machine_the_proxy() -> None:
    """Exempt this machine from proxies, for this process and those that it starts.

    Label Studio and the backend reach each other, and are probed, at 127.0.0.1. A proxy in the
    environment, meant for packages and the web, cannot reach them.
    """
    named = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY")]
    if "*" in named:  # no proxy is used at all; "*" only counts alone
        return
    here = ["127.0.0.1", "localhost", os.environ.get("CYTOLOOP_HOST", "")]
    spared = ",".join(filter(None, [*dict.fromkeys(named), *here]))
    os.environ |= {"no_proxy": spared, "NO_PROXY": spared}
