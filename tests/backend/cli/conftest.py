"""The command, and a small labelled folder of generated cells with exact truth."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from click import Command
from click.testing import CliRunner, Result
from typer.main import get_command

from backend.cli import make_app
from model.generated.fields import EASY, generate_field
from tests.labelled import write_labelled

Run = Callable[..., Result]
CELLS = 6
#: The generated cells have another name in the files than in the project.
NAMED = ("--map", "Nucleus=Cell")
SHORT = (*NAMED, "--device", "cpu")


def truth_in(cells: Path) -> tuple[str | Path, ...]:
    return ("--images", cells / "images", "--annotations", cells / "annotations")


@cache
def command() -> Command:
    """Put the command together once: Typer takes longer over it than most tests do."""
    return get_command(make_app())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command with the given words in a home of its own."""
    monkeypatch.setenv("CYTOLOOP_HOME", str(home))
    monkeypatch.setenv("CYTOLOOP_ITERATIONS", "2")  # nothing here trains for long
    monkeypatch.setenv("CYTOLOOP_REDIS_URL", "unix:///nowhere/redis.sock")
    return lambda *words, answer=None: CliRunner().invoke(
        command(), [str(word) for word in words], input=answer
    )


@pytest.fixture(scope="session")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five fields, ``images`` and ``annotations``, each with ``CELLS`` nuclei."""
    folder = tmp_path_factory.mktemp("cells")
    write_labelled(folder, (generate_field(seed, (128, 160), CELLS, EASY) for seed in range(5)))
    return folder
