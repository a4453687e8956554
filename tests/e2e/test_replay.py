"""The same replay through the real loop over HTTP and in one process: the same numbers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.datasets.voc import write_voc
from model.fields import FieldStyle, generate_field
from tests.e2e.margin import with_margin

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

SIZE, CELLS, FIELDS, MILESTONE, ITERATIONS = 96, 4, 8, 5, 60
#: Faint rims among blobs and fibres.
RIMS = FieldStyle(
    "rims", 0.2, background=0.4, ring=1.0, smudges=3.0, fibres=1.0, radius=12.0, touching=0.0
)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    folder = tmp_path / "labelled"
    (folder / "images").mkdir(parents=True)
    for seed in range(FIELDS):
        field = generate_field(seed, (SIZE, SIZE), CELLS, RIMS)
        name = f"field{seed}.png"
        Image.fromarray(field.pixels).save(folder / "images" / name)
        boxes = [with_margin(box, SIZE) for box in field.boxes]
        write_voc(folder / "annotations" / f"field{seed}.xml", name, SIZE, SIZE, 1, boxes)
    return folder


def rows(out: Path) -> list[dict[str, str]]:
    """Return a replay's rows without what differs: form, and the names of versions."""
    with (out / "effort.csv").open(encoding="utf-8") as lines:
        table = list(csv.DictReader(lines))
    for row in table:
        kind, _, policy = row.pop("served").partition("+")
        row |= {"form": "", "served": f"{kind.partition('-')[0]}+{policy}"}
    return table


def test_over_http_and_in_process_a_replay_gives_the_same_numbers(
    make_loop: Callable[..., Any], labelled: Path, tmp_path: Path
) -> None:
    settings = {"CYTOLOOP_MILESTONES": str(MILESTONE), "CYTOLOOP_ITERATIONS": str(ITERATIONS)}
    loop = make_loop(**settings)
    loop.up("--images", str(labelled / "images"))
    truth = (
        *("--images", str(labelled / "images")),
        *("--annotations", str(labelled / "annotations")),
    )
    live, paper = tmp_path / "live", tmp_path / "paper"
    loop.run("replay", *truth, "--out", str(live), "--live", "1")
    loop.run("replay", *truth, "--out", str(paper))

    assert len(rows(live)) == FIELDS
    assert rows(live) == rows(paper)
    assert {row["learned"] for row in rows(live)[MILESTONE:]} == {str(MILESTONE)}

    # What was submitted in Label Studio is told by the telemetry as it was played.
    total = json.loads(loop.run("effort", "1", "--json"))["total"]
    for kind in ("kept", "moved", "relabelled", "deleted", "added", "cells"):
        assert total[kind] == sum(int(row[kind]) for row in rows(live)), kind
    assert total["timed_images"] == FIELDS
