import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from model.atomic import remove_folder
from model.classical.detector import CLASSICAL_ID
from model.config import TrainConfig
from model.errors import (
    BrokenVersion,
    VersionInUse,
    VersionNotFound,
)
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.versions import GateDecision
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from tests.model.conftest import version

NONE = ContrastGroups.none()


def test_a_new_registry_has_the_versions_that_need_no_training(registry):
    assert [v.id for v in registry.list()] == ["classical-1", STARTER_ID]
    assert registry.champion("1").kind == "classical"
    assert not registry.root.exists()


def test_a_version_comes_back_as_it_was_added(registry, weights):
    added = version("trained-1", training=TrainConfig(batch=2), project="1", lineage=("aa", "bb"))
    registry.add(added, NONE, weights)
    assert Registry(registry.root).get("trained-1") == added
    folder = registry.root / "versions" / "trained-1"
    assert (folder / "weights.safetensors").read_bytes() == weights.read_bytes()


def test_ids_say_their_kind_and_hardly_repeat_within_a_second(registry):
    ids = {registry.new_id("trained") for _ in range(50)}
    assert len(ids) > 45
    assert all(i.startswith("trained-2") for i in ids)


def test_a_version_is_never_overwritten(registry, weights):
    registry.add(version("trained-1"), NONE, weights)
    with pytest.raises(FileExistsError, match="trained-1"):
        registry.add(version("trained-1", threshold=0.9), NONE, weights)
    assert registry.get("trained-1").threshold == 0.4
    with pytest.raises(FileExistsError, match="classical-1"):
        registry.add(version("classical-1"), NONE, None)


def test_a_version_of_another_registry_is_taken_over_whole_and_once(registry, weights, tmp_path):
    other = Registry(tmp_path / "other")
    other.add(version("trained-1"), NONE, weights)
    for _ in range(2):
        registry.take_over("trained-1", other)
    assert registry.get("trained-1") == other.get("trained-1")
    assert registry.weights("trained-1").read_bytes() == weights.read_bytes()
    registry.take_over(STARTER_ID, other)
    assert [v.id for v in registry.list() if v.kind == "trained"] == ["trained-1"]
    with pytest.raises(VersionNotFound, match="trained-2"):
        registry.take_over("trained-2", other)


def test_versions_are_listed_oldest_first_and_by_project(registry):
    registry.add(version("b", created_at="2027-01-02", project="1"), NONE, None)
    registry.add(version("a", created_at="2027-01-03", project="2"), NONE, None)
    registry.add(version("c", created_at="2027-01-01"), NONE, None)
    assert [v.id for v in registry.list()] == ["classical-1", STARTER_ID, "c", "b", "a"]
    assert [v.id for v in registry.list(project="1")] == ["classical-1", STARTER_ID, "c", "b"]
    registry.promote("1", "a")  # another project's
    registry.rollback("1")
    assert [v.id for v in registry.list(project="1")][2:] == ["c", "b", "a"]


def test_weights_that_cannot_be_read_leave_no_half_version(registry, tmp_path):
    with pytest.raises(FileNotFoundError):
        registry.add(version("trained-1"), NONE, tmp_path / "absent.safetensors")
    assert list((registry.root / "versions").iterdir()) == []
    with pytest.raises(VersionNotFound, match="models list"):
        registry.get("trained-1")


def test_a_process_killed_while_it_adds_leaves_no_half_version(registry, weights):
    script = f"""
import os
from pathlib import Path
import model.keeping.registry
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
model.keeping.version_folder.shutil.copyfile = lambda *paths: os.kill(os.getpid(), 9)
version = ModelVersion("trained-1", "trained", (), 0.5)
registry = model.keeping.registry.Registry(Path({str(registry.root)!r}))
registry.add(version, ContrastGroups.none(), Path({str(weights)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -9
    (left,) = (registry.root / "versions").iterdir()
    assert [v.id for v in registry.list()] == ["classical-1", STARTER_ID]
    registry.add(version("trained-1"), NONE, weights)
    assert registry.get("trained-1").id == "trained-1"
    assert not left.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"id": "trained-1"}', "\x00"])
def test_a_corrupt_description_is_named_and_hides_no_other_version(registry, weights, text):
    registry.add(version("trained-1"), NONE, weights)
    registry.add(version("trained-2"), NONE, weights)
    (registry.root / "versions" / "trained-1" / "version.json").write_text(text)
    with pytest.raises(BrokenVersion, match=r"trained-1 is broken.*models rollback"):
        registry.get("trained-1")
    assert [v.id for v in registry.list()] == ["classical-1", STARTER_ID, "trained-2"]
    assert "trained-1" in str(registry.broken()[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("files", []),
        ("threshold", "high"),
        ("threshold", None),
        ("classes", "cell"),
        ("of_a_newer_cytoloop", 1),
    ],
)
def test_a_description_of_the_wrong_kind_of_values_is_broken(registry, weights, name, value):
    registry.add(version("trained-1"), NONE, weights)
    path = registry.root / "versions" / "trained-1" / "version.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(BrokenVersion, match="trained-1 is broken"):
        registry.load("trained-1")


def test_a_version_in_a_folder_of_another_name_is_broken_and_no_second_one(registry, weights):
    registry.add(version("trained-1"), NONE, weights)
    folder = registry.root / "versions" / "trained-1"
    shutil.copytree(folder, folder.with_name("trained-2"))
    assert [v.id for v in registry.list()] == ["classical-1", STARTER_ID, "trained-1"]
    with pytest.raises(BrokenVersion, match=r"trained-2 is broken.*is of trained-1"):
        registry.promote("1", "trained-2")


def test_a_description_of_a_newer_cytoloop_is_broken_rather_than_misread(registry, weights):
    registry.add(version("trained-1"), NONE, weights)
    path = registry.root / "versions" / "trained-1" / "version.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "calibration": 1}))
    with pytest.raises(BrokenVersion, match="calibration"):
        registry.get("trained-1")


@pytest.mark.parametrize("name", ["weights.safetensors", "groups.npz"])
def test_a_truncated_or_missing_file_is_found_before_it_is_used(registry, weights, name):
    registry.add(version("trained-1"), NONE, weights)
    path = registry.root / "versions" / "trained-1" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenVersion, match=f"{name} is not the file that was added"):
        registry.load("trained-1")
    path.unlink()
    with pytest.raises(BrokenVersion, match=f"{name} is missing"):
        registry.load("trained-1")


@pytest.mark.parametrize("device", ["cpu", "auto", "cuda"])
def test_an_exported_version_is_served_by_it_on_a_cpu(registry, weights, device, monkeypatch):
    served = []
    monkeypatch.setattr("model.keeping.version_folder.has_cuda", lambda: False)
    for name in ("exported", "torch"):
        monkeypatch.setattr(
            f"model.keeping.version_folder._load_{name}", lambda *_, name=name: served.append(name)
        )
    registry.add(version("both"), NONE, weights, exported=weights)
    registry.add(version("one"), NONE, weights)
    for asked in (("both",), ("both", "torch"), ("both", "onnx"), ("one",)):
        registry.load(asked[0], device, *asked[1:])
    assert served == ["torch" if device == "cuda" else "exported", "torch", "exported", "torch"]


def test_where_there_is_cuda_pytorch_serves_unless_a_cpu_is_asked_for(
    registry, weights, monkeypatch
):
    served = []
    monkeypatch.setattr("model.keeping.version_folder.has_cuda", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for name in ("exported", "torch"):
        monkeypatch.setattr(
            f"model.keeping.version_folder._load_{name}", lambda *_, name=name: served.append(name)
        )
    registry.add(version("both"), NONE, weights, exported=weights)
    for device in ("auto", "cpu"):
        registry.load("both", device)
    assert served == ["torch", "exported"]


def test_where_pytorch_cannot_use_the_cuda_there_is_the_exported_file_serves(
    registry, weights, monkeypatch
):
    served = []
    monkeypatch.setattr("model.keeping.version_folder.has_cuda", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(
        "model.keeping.version_folder._load_exported", lambda *_: served.append("exported")
    )
    registry.add(version("both"), NONE, weights, exported=weights)
    registry.load("both")
    assert served == ["exported"]


def test_an_exported_file_that_is_cut_or_was_never_there_is_a_broken_version(registry, weights):
    registry.add(version("both"), NONE, weights, exported=weights)
    registry.add(version("one"), NONE, weights)
    path = registry.root / "versions" / "both" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenVersion, match=r"model\.onnx is not the file that was added"):
        registry.load("both", "cpu")
    path.unlink()
    with pytest.raises(BrokenVersion, match=r"model\.onnx is missing"):
        registry.load("both", "cpu")
    with pytest.raises(BrokenVersion, match="holds no exported"):
        registry.load("one", "cpu", "onnx")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".partial-x", "A\n", "x" * 200])
def test_an_id_never_leads_out_of_the_registry(registry, name):
    with pytest.raises(VersionNotFound):
        registry.get(name)


def test_a_decision_is_kept_with_its_version(registry, weights, report):
    registry.add(version("trained-1"), NONE, weights)
    decision = GateDecision(False, ("AP50 is lower",), report(0.4), report(0.5))
    assert registry.record_decision("trained-1", decision).decision == decision
    assert registry.get("trained-1").decision == decision


def test_the_classical_version_loads_and_finds_a_cell_without_torch(registry):
    loaded = registry.load("classical-1")
    pixels = np.full((64, 64), 20, np.uint8)
    y, x = np.mgrid[:64, :64]
    pixels[(y - 30) ** 2 + (x - 34) ** 2 < 100] = 200
    (found,) = loaded.find([ImageRecord(pixels, "00")])
    assert len(found.detections) == 1
    np.testing.assert_allclose(found.detections.xyxy_px[0], [25, 21, 44, 40], atol=2)
    script = "import sys, model.keeping.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_version_that_is_removed_while_others_are_listed_hides_none(registry, weights):
    for name in ("trained-a", "trained-b", "trained-c"):
        registry.add(version(name), NONE, weights)
    listed = registry._each()
    assert next(listed).id == "trained-a"
    registry.remove("trained-b")
    assert [v.id for v in listed] == ["trained-c"]


def test_one_that_is_removed_while_it_is_read_is_not_broken(registry, weights, monkeypatch):
    def removing(self, version_id):
        folder = existing(self, version_id)
        if version_id == "trained-a":
            remove_folder(folder)
        return folder

    existing = Registry._existing
    for name in ("trained-a", "trained-b"):
        registry.add(version(name), NONE, weights)
    monkeypatch.setattr(Registry, "_existing", removing)
    assert [v.id for v in registry._each()] == ["trained-b"]


def test_a_file_among_the_versions_hides_none(registry, weights):
    registry.add(version("trained-1"), NONE, weights)
    (registry.root / "versions" / "notes").write_text("of ours")
    assert [v.id for v in registry.list()] == ["classical-1", STARTER_ID, "trained-1"]
    assert registry.broken() == ()


def test_a_removed_version_is_gone_and_a_champion_past_or_present_stays(registry, weights):
    for name in ("trained-a", "trained-b", "trained-c"):
        registry.add(version(name), NONE, weights)
    registry.promote("1", "trained-a")
    registry.promote("1", "trained-b")
    assert registry.remove("trained-c") > 7000
    with pytest.raises(VersionNotFound):
        registry.remove("trained-c")
    for name in ("trained-a", "trained-b"):
        with pytest.raises(VersionInUse, match="rolling back"):
            registry.remove(name)
    left = sorted(folder.name for folder in (registry.root / "versions").iterdir())
    assert left == ["trained-a", "trained-b"]


def test_a_version_is_not_promoted_while_it_is_removed(registry, monkeypatch):
    registry.add(version("a"), NONE, None)
    refused = []

    def promote():
        try:
            registry.promote("1", "a")
        except VersionNotFound as error:
            refused.append(error)

    def remove_meanwhile(folder):
        other.start()
        other.join(0.5)
        remove_folder(folder)

    other = threading.Thread(target=promote)
    monkeypatch.setattr("model.keeping.registry.remove_folder", remove_meanwhile)
    registry.remove("a")
    other.join()
    assert len(refused) == 1
    assert registry.champion("1").kind == "classical"


@pytest.mark.parametrize("given", [CLASSICAL_ID, STARTER_ID])
def test_the_versions_that_every_registry_has_are_not_its_own_to_change(registry, given):
    with pytest.raises(VersionInUse):
        registry.remove(given)
    with pytest.raises(VersionInUse):
        registry.record_decision(given, GateDecision(False, ()))
    assert registry.get(given).decision is None


def test_the_newest_version_is_none_that_was_refused_or_rolled_back_from(registry):
    def trained(day, **fields):
        made = version(f"v{day}", created_at=f"2027-01-{day:02}", **fields)
        return registry.add(made, NONE, None).id

    refused = GateDecision(False, ("no better",))
    assert registry.newest() is None
    trained(1, decision=refused)
    assert registry.newest() is None
    offline = trained(2)  # nobody decided on it
    trained(3, decision=refused)
    assert registry.newest().id == offline
    for day, project in ((4, "1"), (5, "2")):
        registry.promote(project, trained(day, decision=GateDecision(True, ("better",))))
    registry.rollback("2")
    assert registry.newest().id == "v4"
    registry.promote("1", trained(6, decision=refused))  # by a person, whatever the gate said
    assert registry.newest().id == "v6"
    registry.rollback("1")
    registry.promote("2", "v6")
    assert registry.newest().id == "v6"
    assert registry.promoted_in() == ("1", "2")
