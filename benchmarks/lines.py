"""What long benchmarks have measured so far: a line of JSON for each trial that is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file; none where it was not begun."""
    text = path.read_text("utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def add_line(path: Path, line: dict[str, Any]) -> None:
    """Add what a trial has measured to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
