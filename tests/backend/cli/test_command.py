from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import typer
from click import Command
from requests.utils import get_environ_proxies
from typer.core import TyperGroup
from typer.testing import CliRunner

from backend import cli
from backend.cli import make_app
from backend.cli.console import Commands, progress, table, tell, warn
from backend.errors import BadRequest
from model.classical.detector import CLASSICAL_ID
from model.errors import NothingToLearn
from model.keeping.starter import STARTER_ID
from model.wording import printable
from preprocessing.errors import UnreadableImage
from tests.backend.cli.conftest import Run, command, truth_in

ROOT = Path(__file__).resolve().parents[3]
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


WHOLE: TyperGroup = command()  # type: ignore[assignment]
GROUPS = [[name] for name, each in WHOLE.commands.items() if isinstance(each, TyperGroup)]


@pytest.mark.parametrize("words", [[], *GROUPS])
def test_help_says_in_whole_what_each_command_does(words: list[str]) -> None:
    told = CliRunner().invoke(make_app(), [*words, "--help"], terminal_width=80)
    commands = told.stdout.partition("Commands:")[2].splitlines()
    assert len(commands) > 1
    assert [line for line in commands if line.endswith("...")] == []


def each_command(group: TyperGroup, words: str = "") -> Iterator[tuple[str, Command]]:
    for name, each in group.commands.items():
        if isinstance(each, TyperGroup):
            yield from each_command(each, f"{words}{name} ")
        else:
            yield f"{words}{name}", each


def test_each_command_can_be_told_its_home_but_those_that_need_none() -> None:
    commands = each_command(WHOLE)
    without = [
        words
        for words, command in commands
        if not any("--home" in param.opts for param in command.params)
    ]
    assert without == ["preprocess fit", "preprocess apply", "preprocess figure"]


def test_no_help_sends_to_files_that_are_not_installed() -> None:
    commands = each_command(WHOLE)
    assert [words for words, command in commands if "docs/" in (command.help or "")] == []


TOLD = {
    (path.name, " ".join(line.split()))
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    for line in re.findall(
        r"(?:^|`)cytoloop ([a-z][^`#\n]*)", path.read_text("utf-8"), re.MULTILINE
    )
}


@pytest.mark.parametrize(("file", "words"), sorted(TOLD))
def test_each_command_and_option_that_is_told_of_is_there(file: str, words: str) -> None:
    told, rest = WHOLE, words.split()
    while isinstance(told, TyperGroup) and rest and rest[0] in told.commands:
        told = told.commands[rest.pop(0)]
    named = {word for word in rest if word.startswith("--") and len(word) > 2}
    known = {name for param in told.params for name in (*param.opts, *param.secondary_opts)}
    assert told.name != "cytoloop", f"{file}: there is no command {words}"
    assert named <= known, f"{file}: cytoloop {words}"


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "show"),
        ("runs", "cancel"),
        ("runs", "retry"),
        ("runs", "list", "--project"),
        ("project", "--project"),
        ("effort",),
        ("connect", "--project"),
        ("evaluate", "--images", ".", "--annotations", ".", "--project"),
        ("replay", "--images", ".", "--annotations", ".", "--out", "out", "--live"),
    ],
)
def test_a_number_that_the_store_cannot_hold_is_refused(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words, 2**31)
    assert result.exit_code == 2
    assert "2147483647" in result.stderr


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
        OSError(28, "do this"),
    ],
)
def test_an_error_of_ours_is_one_line_and_exit_code_2(error: Exception) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "do this" in result.stderr
    assert "Errno" not in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    result = CliRunner().invoke(failing(ZeroDivisionError("a bug")), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"no_proxy": "lab.org"},
        {"NO_PROXY": "lab.org"},
        {"no_proxy": "10.0.0.0/8", "NO_PROXY": "lab.org"},
    ],
)
def test_what_runs_on_this_machine_is_asked_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, str]
) -> None:
    monkeypatch.setattr(cli, "make_app", lambda: lambda: None)
    monkeypatch.setattr(os, "environ", {"http_proxy": "http://proxy.invalid:3128"} | named)

    cli.main()

    asked = {
        url: bool(get_environ_proxies(f"http://{url}/health"))
        for url in ("127.0.0.1:9090", "localhost:8080", "lab.org", "example.org")
    }
    assert asked == {
        "127.0.0.1:9090": False,
        "localhost:8080": False,
        "lab.org": not named,
        "example.org": True,
    }


def test_where_nothing_is_asked_through_a_proxy_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "make_app", lambda: lambda: None)
    asked = {"http_proxy": "http://proxy.invalid:3128", "no_proxy": "*"}
    monkeypatch.setattr(os, "environ", dict(asked))

    cli.main()

    assert {name: os.environ.get(name) for name in (*asked, "NO_PROXY")} == asked | {
        "NO_PROXY": None
    }


def test_ctrl_c_ends_without_a_traceback() -> None:
    result = CliRunner().invoke(failing(KeyboardInterrupt()), ["fail"])
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_what_a_file_name_would_tell_the_terminal_is_written_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    warn(["a\x1b[2J\nb\r\u2028.png left out"])
    with progress("Finding") as advance:
        advance(0.5, "[red]c\x9b.png")
    tell("d\x1b[2J\ne.png", "f.png")
    table(("image",), [["g\th.png"]])
    told, shown = capsys.readouterr()
    assert told.splitlines() == [r"d\x1b[2J\ne.png", "f.png", "image", r"g\th.png"]
    assert r"Note: a\x1b[2J\nb\r\u2028.png left out" in shown
    assert r"[red]c\x9b.png" in printable("[red]c\x9b.png\n")
    assert "\x9b" not in shown


def test_long_lists_of_notes_are_cut_and_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    warn(f"note {number}" for number in range(25))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "Note: and 5 more"


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "effort",
        "project",
        "export counts --out counts.csv",
        "import .",
        "labels check",
        "runs list",
        "runs retry 1",
        "models rollback",
        "models prune",
        "predict . --out out --project 1",
    ],
)
def test_a_home_that_is_not_there_is_named_and_not_made(run: Run, home: Path, words: str) -> None:
    result = run(*words.split())
    assert result.exit_code == 2
    assert f"There is no home at {home}: `cytoloop up` makes one." in result.stderr
    assert not home.exists()


def test_a_loop_whose_device_is_not_there_is_not_started(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.cli.options.has_cuda", lambda: False)
    monkeypatch.setenv("CYTOLOOP_DEVICE", "cuda")
    monkeypatch.setenv("CYTOLOOP_PROT", "9191")
    refused = run("up")
    assert refused.exit_code == 2
    assert "Note: CYTOLOOP_PROT is no setting, and nothing heeds it" in refused.stderr
    assert "no CUDA device for this process: take the device auto or cpu" in refused.stderr
    assert not home.exists()


def test_versions_are_listed_and_nothing_is_made_where_no_home_is(run: Run, home: Path) -> None:
    assert STARTER_ID in run("models", "list").stdout
    assert not home.exists()


def test_a_place_where_nothing_can_be_written_is_told_without_the_words_of_the_system(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words = ("predict", cells / "images", "--model", CLASSICAL_ID, "--out")
    for out in ("/proc/x", tmp_path / "file"):
        told = run(*words, out)
        assert told.exit_code == 2
        assert f"{out} cannot be a folder (" in told.stderr
    picture = ("--picture", "/proc/x/worth.png", "--model", CLASSICAL_ID)
    told = run("evaluate", *truth_in(cells), *picture)
    assert "/proc/x: No such file or directory; see to that" in told.stderr
    assert "Errno" not in told.stderr


def test_characters_that_a_terminal_has_not_end_no_command() -> None:
    script = (
        "import typer; from backend.cli.console import Commands, say; "
        "app = typer.Typer(cls=Commands); "
        "app.callback()(lambda: None); "
        "app.command('x')(lambda: (say('✗'), typer.echo('✓ größer 細'))); app()"
    )
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    words = [sys.executable, "-c", script, "x"]
    shown = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert (shown.returncode, shown.stdout.decode("latin-1")) == (0, "+ größer ?\n"), shown.stderr
