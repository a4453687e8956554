from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.actions import Actions
from backend.datasets.drawn import Notation
from backend.effort.comparison import compare
from backend.errors import BadRequest
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_boxes, to_drawn_boxes, to_regions
from backend.replay.correcting import Carelessness, Corrected, correct
from backend.replay.figures import curve_svg, table_of
from backend.replay.ledger import Ledger, effort_of_rows, row_of
from backend.replay.playing import Play, submitted_regions
from backend.settings import Settings
from model.boxes import Box
from tests.backend.conftest import LABEL_CONFIG

INTERFACE = LabellingInterface.parse(LABEL_CONFIG)
SIZE = (200, 100)


def cell(x: float, y: float = 10, side: float = 20, label: str = "Cell") -> Box:
    return Box(x, y, x + side, y + side, label)


def test_a_box_that_overlaps_its_cell_by_three_quarters_is_left_where_it_is() -> None:
    done = correct([cell(12)], [cell(10)])  # IoU 0.82
    assert done.actions == Actions(kept=1)
    assert done.boxes == (cell(12),)


def test_a_small_box_is_kept_when_no_edge_is_farther_than_two_pixels() -> None:
    assert correct([cell(12, side=6)], [cell(10, side=6)]).actions == Actions(kept=1)  # IoU 0.5
    assert correct([cell(12.1, side=8)], [cell(10, side=8)]).actions == Actions(moved=1)


def test_a_moved_box_takes_the_place_of_its_cell() -> None:
    done = correct([cell(15)], [cell(10)])  # IoU 0.6
    assert done.actions == Actions(moved=1)
    assert done.boxes == (cell(10),)
    assert done.served == (0,)


def test_another_class_is_an_action_of_its_own() -> None:
    assert correct([cell(10, label="Debris")], [cell(10)]).actions == Actions(relabelled=1)
    done = correct([cell(15, label="Debris")], [cell(10)])
    assert done.actions == Actions(moved=1, relabelled=1)
    assert done.boxes == (cell(10),)


def test_what_is_on_no_cell_is_deleted_and_what_is_missing_drawn() -> None:
    done = correct([cell(100), cell(24)], [cell(10)])  # IoU of the second: 0.18
    assert done.actions == Actions(deleted=2, added=1)
    assert done.boxes == (cell(10),)
    assert done.served == (None,)


def test_of_two_boxes_on_one_cell_the_better_one_stays() -> None:
    done = correct([cell(14), cell(11)], [cell(10)])
    assert done.actions == Actions(kept=1, deleted=1)
    assert done.served == (1,)


def test_a_careless_annotator_misses_and_accepts_the_same_each_time() -> None:
    served = [cell(x, 70) for x in range(0, 200, 25)]
    truth = [cell(x) for x in range(0, 200, 25)]
    careless = Carelessness(misses=0.5, accepts=0.5)
    first, again = (correct(served, truth, "a", carelessness=careless) for _ in range(2))
    assert first == again
    assert 0 < first.missed < 8
    assert 0 < first.accepted < 8
    assert first.actions == Actions(
        kept=first.accepted, deleted=8 - first.accepted, added=8 - first.missed
    )
    assert correct(served, truth, "b", carelessness=careless) != first
    blind = correct(served, truth, "a", carelessness=Carelessness(1.0, 1.0))
    assert blind.boxes == tuple(served)
    assert blind.actions.number == 0


edges = st.tuples(
    st.floats(0, 150), st.floats(0, 70), st.floats(4, 50), st.floats(4, 30), st.booleans()
)
boxes = st.lists(
    edges.map(lambda e: Box(e[0], e[1], e[0] + e[2], e[1] + e[3], "Cell" if e[4] else "Debris")),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(boxes, boxes)
def test_what_is_submitted_is_told_by_the_telemetry_as_it_was_played(
    served: list[Box], truth: list[Box]
) -> None:
    regions = to_regions(served, *SIZE, INTERFACE)
    shown, _ = to_boxes(regions, *SIZE)
    done = correct(shown, truth)
    sent = submitted_regions(regions, done, SIZE, INTERFACE)
    told = compare(to_drawn_boxes(regions, *SIZE), to_drawn_boxes(sent, *SIZE))
    assert told.actions == done.actions
    assert (told.cells, told.doubts) == (len(truth), 0)


def a_row(  # type: ignore[no-untyped-def]
    number: int, added: int, served: str = "classical-1+t0.5", learned: int = 0, missed: int = 0
):
    done = Corrected((), (), Actions(kept=10 - added - missed, added=added), missed, accepted=1)
    image = f"image{number}.png", f"{number:064x}"
    return row_of("in process", number, image, (served, learned), done, 10)


def test_a_ledger_is_appended_to_and_goes_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "effort.csv"
    ledger = Ledger(path)
    for number in (1, 2, 2):
        ledger.add(a_row(number, added=3))
    path.write_text(path.read_text("utf-8") + "in process,3,im", "utf-8")
    again = Ledger(path)
    assert again.rows == ledger.rows == [a_row(1, 3), a_row(2, 3)]
    again.add(a_row(3, added=1))
    with path.open(encoding="utf-8") as lines:
        assert [row["added"] for row in csv.DictReader(lines)] == ["3", "3", "1"]
    assert Ledger(path).rows[0].seconds == 3 * 7 + 7 * 0.5 + 5


@pytest.mark.parametrize("mark", ["\u0085", "\u2028", "\x0b", "\x1c", "\n", '"'])
def test_a_name_that_holds_what_else_ends_a_line_stays_whole(tmp_path: Path, mark: str) -> None:
    row = replace(a_row(1, added=3), image=f"plate{mark}1.png")
    Ledger(tmp_path / "effort.csv").add(row)
    assert Ledger(tmp_path / "effort.csv").rows == [row]


def test_what_is_kept_of_a_plays_choices_is_what_older_folders_have(tmp_path: Path) -> None:
    own = Settings(home=tmp_path, milestones=(4,), milestone_step=50, preset="fast", iterations=2)
    how = Play(Carelessness(0.1, 0.2, 3), Notation({"N": "Nucleus"}, one_based=True), lag=2)
    assert json.dumps(how.chosen("in process", own, start="starter-6", lag=how.lag)) == (
        '{"form": "in process", "start": "starter-6", "lag": 2, "map": {"N": "Nucleus"}, '
        '"one_based": true, "misses": 0.1, "accepts": 0.2, "seed": 3, "preset": "fast", '
        '"iterations": 2, "contrast": "of the preset", "milestones": [4], "milestone_step": 50, '
        '"default_class": ""}'
    )


def test_a_ledger_goes_on_as_it_began_and_not_otherwise(tmp_path: Path) -> None:
    path, how = tmp_path / "effort.csv", {"form": "in process", "lag": 0, "misses": 0.0}
    ledger = Ledger(path)
    ledger.keep_to(how)
    ledger.add(a_row(1, added=3))
    Ledger(path).keep_to(how)
    with pytest.raises(BadRequest, match=r"began with lag 0, .* lag 3") as refused:
        Ledger(path).keep_to(how | {"lag": 3})
    assert "misses" not in str(refused.value)


def test_a_ledger_that_does_not_say_how_it_was_played_goes_on_in_its_form(tmp_path: Path) -> None:
    path = tmp_path / "effort.csv"
    Ledger(path).add(a_row(1, added=3))
    with pytest.raises(BadRequest, match="form in process"):
        Ledger(path).keep_to({"form": "over HTTP", "project": 1})
    Ledger(path).keep_to({"form": "in process", "lag": 2})
    with pytest.raises(BadRequest, match="lag 2"):
        Ledger(path).keep_to({"form": "in process", "lag": 0})


def test_another_table_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "effort.csv").write_text("image,count\na,1\n", "utf-8")
    with pytest.raises(BadRequest, match="no table of a replay"):
        Ledger(tmp_path / "effort.csv")


def test_the_table_and_the_curve_tell_each_milestone_and_the_whole() -> None:
    rows = [a_row(n, added=8) for n in range(1, 6)]
    rows += [a_row(n, added=2, served="trained-a+t0.4", learned=5) for n in range(6, 9)]
    lines = table_of(rows).splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["0", "images", "5"],
        ["5", "images", "3"],
    ]
    assert "0.575" in lines[-1]
    assert effort_of_rows(rows) == pytest.approx(46 / 80)
    picture = curve_svg(rows, "Effort <of> a set", floor=0.2)
    assert "Effort &lt;of&gt; a set" in picture
    assert picture.count("3 3") == 1
    assert "floor" in picture


def test_the_table_and_the_curve_tell_what_a_careless_annotator_left_out() -> None:
    rows = [a_row(1, added=2, missed=5), a_row(2, added=4)]
    heading, *_, last = (line.split() for line in table_of(rows).splitlines())
    assert heading[-3:] == ["missed", "accepted", "recall"]
    assert last[-3:] == ["5", "2", "0.750"]
    assert "Effort, at a recall of 0.750" in curve_svg(rows, "Effort")
    assert "recall" not in curve_svg([a_row(1, 2)], "Effort")


def test_a_table_that_was_cut_off_before_its_heading_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "effort.csv"
    path.write_text("")
    Ledger(path).add(a_row(1, 2))
    assert len(Ledger(path).rows) == 1
