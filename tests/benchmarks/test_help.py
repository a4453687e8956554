"""Each benchmark says what it measures when it is asked, instead of beginning."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    path.relative_to(ROOT)
    for path in sorted((ROOT / "benchmarks").rglob("*.py"))
    if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text("utf-8")
]


@pytest.mark.parametrize("path", COMMANDS, ids=str)
def test_a_benchmark_answers_help_with_its_docstring(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [str(path), "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(ROOT / path), run_name="__main__")
    told = capsys.readouterr().out.partition("\n\n")[2].split()
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text("utf-8"))) or ""
    first = docstring.splitlines()[0].split()
    assert told[: len(first)] == first
