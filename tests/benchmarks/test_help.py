"""Each benchmark says what it measures when it is asked, instead of beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
COMMANDS = [
    path
    for path in sorted(FOLDER.rglob("*.py"))
    if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text("utf-8")
]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_benchmark_answers_help_with_its_docstring(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "ArgumentParser(description=__doc__" in text
    assert ".parse_args()" in text
