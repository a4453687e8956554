"""The same replay through the real loop over HTTP and in one process: the same numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from model.boxes import Box
from model.generated.fields import HARD, Field, FieldStyle, generate_field
from tests.e2e.margin import with_margin
from tests.labelled import write_labelled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

SIZE, CELLS, FIELDS, MILESTONE, ITERATIONS = 96, 4, 8, 5, 60
#: Cells enough that five images choose which boxes are shown.
WIDE, MANY = 128, 11
#: Faint rims among blobs and fibres.
RIMS = FieldStyle(
    "rims", 0.2, background=0.4, ring=1.0, smudges=3.0, fibres=1.0, radius=12.0, touching=0.0
)


def write(folder: Path, fields: Sequence[Field], boxes: Callable[[Box], Box]) -> tuple[str, ...]:
    """Write fields and their truth, and return the words that name both to a replay."""
    images, annotations = write_labelled(folder, fields, boxes)
    return ("--images", str(images), "--annotations", str(annotations))


def rows(out: Path) -> list[dict[str, str]]:
    """Return a replay's rows without what differs: form, and the names of versions."""
    with (out / "effort.csv").open(encoding="utf-8") as lines:
        table = list(csv.DictReader(lines))
    for row in table:
        kind, _, policy = row.pop("served").partition("+")
        row |= {"form": "", "served": f"{kind.partition('-')[0]}+{policy}"}
    return table


def replayed_both_ways(
    loop: Any, truth: tuple[str, ...], out: Path
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    loop.up(*truth[:2])
    live, paper = out / "live", out / "paper"
    loop.run("replay", *truth, "--out", str(live), "--live", "1")
    loop.run("replay", *truth, "--out", str(paper))
    assert len(rows(live)) == FIELDS
    return rows(live), rows(paper)


def test_over_http_and_in_process_a_replay_gives_the_same_numbers(
    make_loop: Callable[..., Any], tmp_path: Path, wait: Callable[..., Any]
) -> None:
    fields = [generate_field(seed, (SIZE, SIZE), CELLS, RIMS) for seed in range(FIELDS)]
    truth = write(tmp_path / "labelled", fields, lambda box: with_margin(box, SIZE))
    settings = {"CYTOLOOP_MILESTONES": str(MILESTONE), "CYTOLOOP_ITERATIONS": str(ITERATIONS)}
    loop = make_loop(**settings)
    live, paper = replayed_both_ways(loop, truth, tmp_path)
    assert live == paper
    assert {row["learned"] for row in live[MILESTONE:]} == {str(MILESTONE)}

    # What was submitted in Label Studio is told by the telemetry as it was played.
    total = json.loads(loop.run("effort", "1", "--json"))["total"]
    for kind in ("kept", "moved", "relabelled", "deleted", "added", "cells"):
        assert total[kind] == sum(int(row[kind]) for row in live), kind
    assert total["timed_images"] == FIELDS
    # Events and lists name who did it by number; the next look asks for the address.
    address = loop.label_studio.check()["user"]
    wait(
        lambda: list(json.loads(loop.run("effort", "1", "--json"))["by_annotator"]) == [address], 60
    )


def test_both_wait_for_the_boxes_that_a_refused_run_has_chosen(
    make_loop: Callable[..., Any], tmp_path: Path
) -> None:
    # Of these fields the starter's boxes are better than those of two steps; of some they are not.
    fields = [generate_field(seed, (WIDE, WIDE), MANY, HARD) for seed in range(FIELDS)]
    truth = write(tmp_path / "labelled", fields, lambda box: box)
    loop = make_loop(CYTOLOOP_MILESTONES=str(MILESTONE), CYTOLOOP_ITERATIONS="2")
    live, paper = replayed_both_ways(loop, truth, tmp_path)
    assert live == paper
    assert {row["learned"] for row in live} == {"0"}
    shown = [row["served"] for row in live]
    assert len({*shown[:MILESTONE]}) == len({*shown[MILESTONE:]}) == 1
    assert shown[0] != shown[-1]
