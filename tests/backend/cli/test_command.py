from __future__ import annotations

import subprocess
import sys
from typing import NoReturn

import pytest
import typer
from typer.testing import CliRunner

from backend.cli.choosing import parse_mapping
from backend.cli.console import Commands, warn
from backend.errors import BadRequest
from model.errors import NothingToLearn
from preprocessing.errors import UnreadableImage

HEAVY = (
    "torch", "torchvision", "numpy", "sqlalchemy", "flask", "rq", "redis", "skimage", "sklearn",
    "PIL", "requests", "rich.console",
)  # fmt: skip


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["models", "list", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys\n"
        "from backend.cli import make_app\n"
        f"make_app()({words!r}, standalone_mode=False)\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Usage:" in said
    assert said.splitlines()[-1] == "HEAVY []"


def test_every_command_of_the_readme_is_there() -> None:
    command = [sys.executable, "-c", "from backend.cli import main; main()", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = "up connect web worker status train evaluate predict preprocess models import export"
    assert [name for name in names.split() if f"  {name} " not in said] == []


def failing(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=Commands)

    @app.command()
    def fail() -> NoReturn:
        raise error

    app.callback()(lambda: None)
    return app


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("do this"),
        NothingToLearn("do this"),
        UnreadableImage("do this"),
        PermissionError(13, "do this", "/x"),
    ],
)
def test_an_error_of_ours_is_one_line_and_exit_code_2(error: Exception) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "do this" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    result = CliRunner().invoke(failing(ZeroDivisionError("a bug")), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_ctrl_c_ends_without_a_traceback() -> None:
    result = CliRunner().invoke(failing(KeyboardInterrupt()), ["fail"])
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_long_lists_of_notes_are_cut_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    warn(f"note {number}" for number in range(25))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "Note: and 5 more."


@pytest.mark.parametrize("pair", ["N", "N=", "=Nucleus", ""])
def test_a_mapping_without_two_names_is_refused(pair: str) -> None:
    with pytest.raises(BadRequest, match="OLD=NEW"):
        parse_mapping([pair])


def test_a_mapping_is_read() -> None:
    assert parse_mapping(["N=Nucleus", " a = b "]) == {"N": "Nucleus", "a": "b"}
