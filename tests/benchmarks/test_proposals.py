from __future__ import annotations

from pathlib import Path

from benchmarks.generated import labelled_field
from benchmarks.proposals import WAYS, Way, in_turn
from model.classical.detector import ClassicalDetector, classical_version
from model.generated.fields import EASY
from model.looking.loaded import LoadedVersion
from preprocessing.groups import ContrastGroups


def test_a_number_of_proposals_is_read_as_it_is_named() -> None:
    assert Way.read("2000,1,0.01") == Way(2000, 1, 0.01)
    for way in WAYS:
        assert Way.read(way.name) == way


def test_each_way_looks_at_every_image_and_its_time_is_its_own(tmp_path: Path) -> None:
    fields = [labelled_field(tmp_path, seed, (96, 128), 5, EASY) for seed in (1, 2)]
    classical = LoadedVersion(classical_version(), ContrastGroups.none(), ClassicalDetector())
    found, taken = in_turn([classical, classical], fields)
    assert [len(each) for each in found] == [2, 2]
    assert found[0][1].xyxy_px.tolist() == found[1][1].xyxy_px.tolist()
    assert all(cpu_s > 0 for cpu_s in taken)
