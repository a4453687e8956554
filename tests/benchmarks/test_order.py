from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.order import carry_out
from model.keeping.version_folder import WEIGHTS


def settings(out: Path, **others: object) -> Namespace:
    asked = {"start": None, "images": 60, "corrected": None, "judge": 24, "iterations": 100}
    return Namespace(out=out, **(asked | others))


def test_what_is_done_with_other_settings_is_not_taken_for_done(tmp_path: Path) -> None:
    figures = tmp_path / "bccd-random-0" / "figures.json"
    figures.parent.mkdir()
    figures.touch()
    starters = [tmp_path / name for name in ("a", "b")]
    for number, folder in enumerate(starters):
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(bytes([number]))
    first = settings(tmp_path, start=str(starters[0]))
    carry_out("bccd", "random", 0, first)
    carry_out("bccd", "random", 0, first)
    for other in ({"iterations": 60}, {"images": 30}, {"corrected": 20}, {"judge": 12}):
        (name, value), *_ = other.items()
        with pytest.raises(SystemExit, match=f"cannot go on with {name} {value}: .* --out"):
            carry_out("bccd", "random", 0, Namespace(**(vars(first) | other)))
    for start in (None, str(starters[1])):
        with pytest.raises(SystemExit, match="began with start starter-without-"):
            carry_out("bccd", "random", 0, Namespace(**(vars(first) | {"start": start})))
