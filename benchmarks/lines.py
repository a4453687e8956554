"""What long benchmarks have measured so far: a line of JSON for each trial that is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file; none where it was not begun."""
    return [json.loads(line) for line in _whole(path).splitlines()]


def add_line(path: Path, line: dict[str, Any]) -> None:
    """Add what a trial has measured to a file, in the place of a line that was cut off."""
    whole = len(_whole(path))
    with path.open("ab") as file:
        file.truncate(whole)
        file.write(f"{json.dumps(line)}\n".encode())


def _whole(path: Path) -> bytes:
    """Return a file without the end of it that a process was killed in."""
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]
