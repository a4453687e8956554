from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.lines import add_line, lines_of


def test_lines_are_read_in_the_order_in_which_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    assert lines_of(path) == []
    add_line(path, {"trial": 1})
    add_line(path, {"trial": 2})
    assert lines_of(path) == [{"trial": 1}, {"trial": 2}]


@pytest.mark.parametrize("whole", [0, 2])
def test_a_line_that_was_cut_off_in_writing_is_left_out_and_the_next_takes_its_place(
    tmp_path: Path, whole: int
) -> None:
    path = tmp_path / "lines.jsonl"
    before = [{"trial": n} for n in range(whole)]
    for line in [*before, {"trial": "cut off"}]:
        add_line(path, line)
    path.write_bytes(path.read_bytes()[:-5])
    assert lines_of(path) == before
    add_line(path, {"trial": "anew"})
    assert lines_of(path) == [*before, {"trial": "anew"}]
