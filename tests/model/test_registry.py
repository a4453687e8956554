import json
import multiprocessing
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from model.atomic import remove_folder
from model.calibration import Calibration
from model.champions import Champions
from model.classical import CLASSICAL_ID, classical_version
from model.config import DetectorConfig, TrainConfig
from model.errors import (
    BrokenVersion,
    ChampionChanged,
    NothingToRollBack,
    VersionInUse,
    VersionNotFound,
)
from model.policy import Policy
from model.registry import Registry
from model.starter import STARTER_ID
from model.versions import GateDecision, ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord

NONE = ContrastGroups.none()


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "trained.safetensors"
    path.write_bytes(b"weights" * 1000)
    return path


def version(name, **fields):
    base = ModelVersion(name, "trained", ("Nucleus",), 0.4, DetectorConfig(scale=0.5))
    return replace(base, **fields)


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


def test_a_policy_is_kept_for_a_version_in_one_project_through_every_change(registry, weights):
    first, second = (registry.add(version(f"trained-{n}"), NONE, weights) for n in (1, 2))
    chosen = Policy(0.4, 0.2, Calibration(0.8, 0.1, {"low": 0.3}))
    before = registry.champion_stamp("1")
    registry.set_policy("1", first, lambda _: chosen)
    assert registry.champion_stamp("1") != before
    assert registry.champion("1").kind == "classical"
    registry.promote("1", first.id)
    registry.promote("1", second.id)
    assert registry.served_name("1") == "trained-2+t0.4"
    registry.rollback("1")
    assert registry.served_name("1") == f"trained-1+{chosen.id}"
    assert Registry(registry.root).policy("1", first) == chosen
    assert registry.policy("2", first) == Policy.of(first)


def test_the_starter_of_a_new_release_is_told_what_the_one_before_was(registry):
    starter = registry.get(STARTER_ID)
    before = replace(starter, id="starter-1")
    fitted = Policy(0.123, 0.2, Calibration(0.8, 0.1), cell_diameter_px=40.0)
    registry.set_policy("1", before, lambda _: fitted)
    assert registry.policy("1", starter) == replace(Policy.of(starter), cell_diameter_px=40.0)
    assert registry.policy("1", classical_version()) == Policy.of(classical_version())
    registry.set_policy("1", starter, lambda _: Policy.of(starter))
    assert registry.policy("1", starter).cell_diameter_px is None


def test_a_policy_chosen_again_changes_nothing(registry, weights):
    first = registry.add(version("trained-1"), NONE, weights)
    registry.set_policy("1", first, lambda _: Policy(0.4, 0.2))
    before = registry.champion_stamp("1")
    registry.set_policy("1", first, lambda _: Policy(0.4, 0.2))
    assert registry.champion_stamp("1") == before


def test_of_changes_of_a_policy_at_once_none_is_lost(registry, weights):
    first = registry.add(version("trained-1"), NONE, weights)

    def grow(policy):
        return replace(policy, cell_diameter_px=(policy.cell_diameter_px or 0) + 1)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: registry.set_policy("1", first, grow), range(40)))
    assert registry.policy("1", first).cell_diameter_px == 40


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
import model.registry
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
model.version_folder.shutil.copyfile = lambda *paths: os.kill(os.getpid(), 9)
version = ModelVersion("trained-1", "trained", (), 0.5)
registry = model.registry.Registry(Path({str(registry.root)!r}))
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
    monkeypatch.setattr("model.version_folder.has_cuda", lambda: False)
    for name in ("exported", "torch"):
        monkeypatch.setattr(
            f"model.version_folder._load_{name}", lambda *_, name=name: served.append(name)
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
    monkeypatch.setattr("model.version_folder.has_cuda", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for name in ("exported", "torch"):
        monkeypatch.setattr(
            f"model.version_folder._load_{name}", lambda *_, name=name: served.append(name)
        )
    registry.add(version("both"), NONE, weights, exported=weights)
    for device in ("auto", "cpu"):
        registry.load("both", device)
    assert served == ["torch", "exported"]


def test_where_pytorch_cannot_use_the_cuda_there_is_the_exported_file_serves(
    registry, weights, monkeypatch
):
    served = []
    monkeypatch.setattr("model.version_folder.has_cuda", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("model.version_folder._load_exported", lambda *_: served.append("exported"))
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


def test_promotion_changes_the_champion_of_one_project_alone(registry, weights):
    registry.add(version("trained-1"), NONE, weights)
    before = registry.champion_stamp("1")
    registry.promote("1", "trained-1")
    assert registry.champion("1").id == "trained-1"
    assert registry.champion("2").id == "classical-1"
    assert registry.champion_stamp("1") != before
    assert registry.champion_stamp("2") == before


def test_a_version_is_the_champion_of_the_projects_that_it_serves_now(registry, weights):
    for name in ("a", "b"):
        registry.add(version(name), NONE, weights)
    for project, name in (("1", "a"), ("2", "a"), ("2", "b"), ("3", "b"), ("4", "a")):
        registry.promote(project, name)
    registry.rollback("3")
    registry.set_policy("5", registry.get("a"), lambda _: Policy(0.4, 0.2))
    assert registry.champion_of("a") == ("1", "4")
    assert registry.champion_of("b") == ("2",)
    assert registry.champion_of("classical-1") == ("3", "5")


def test_every_change_of_champion_changes_the_stamp(registry):
    registry.add(version("a"), NONE, None)
    registry.add(version("b"), NONE, None)
    stamps = []
    for name in "abab":
        registry.promote("1", name)
        stamps.append(registry.champion_stamp("1"))
    assert len(set(stamps)) == 4


def test_rollback_goes_one_back_each_time(registry):
    for name in "abc":
        registry.add(version(name), NONE, None)
        registry.promote("1", name)
    assert [registry.rollback("1").id for _ in range(3)] == ["b", "a", "classical-1"]
    with pytest.raises(NothingToRollBack, match="models promote"):
        registry.rollback("1")
    assert registry.champion("1").id == "classical-1"


def test_a_rollback_tells_what_it_returned_to_though_another_is_promoted_at_once(tmp_path):
    class Hurried(Champions):
        """Between whose change and answer somebody else promotes."""

        def _change(self, project, action, choose):
            chosen = super()._change(project, action, choose)
            if action == "rolled back":
                Champions(self.folder, self.first).promote(project, "c")
            return chosen

    champions = Hurried(tmp_path, "classical-1")
    for name in "ab":
        champions.promote("1", name)
    assert champions.rollback("1", lambda id: None) == "a"
    assert champions.current("1") == "c"


def test_a_version_promoted_after_a_rollback_rolls_back_to_what_served_before_it(registry):
    for name in "abc":
        registry.add(version(name), NONE, None)
    registry.promote("1", "a")
    registry.promote("1", "b")
    registry.rollback("1")
    registry.promote("1", "c")
    assert registry.rollback("1").id == "a"


def test_a_project_keeps_the_champion_it_went_back_to_though_another_is_now_the_first(registry):
    registry.add(version("a"), NONE, None)
    registry.promote("1", "a")
    registry.rollback("1")
    today = Registry(registry.root, first=STARTER_ID)
    with pytest.raises(NothingToRollBack, match="before classical-1"):
        today.rollback("1")
    today.promote("1", STARTER_ID)
    assert [today.champion(project).id for project in "12"] == [STARTER_ID, STARTER_ID]
    assert today.rollback("1").id == today.champion("1").id == "classical-1"


def test_a_champion_whose_folder_is_gone_is_told_with_what_chooses_another(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
        registry.promote("1", name)
    remove_folder(registry.root / "versions" / "b")
    with pytest.raises(BrokenVersion, match=r"b, the champion of project 1, .* models rollback"):
        registry.champion("1")
    assert registry.rollback("1").id == registry.champion("1").id == "a"


def test_a_rollback_to_a_version_that_is_gone_leaves_the_champion(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
        registry.promote("1", name)
    remove_folder(registry.root / "versions" / "a")
    with pytest.raises(VersionNotFound):
        registry.rollback("1")
    assert registry.champion("1").id == "b"


def test_the_history_keeps_every_change_with_its_time(registry):
    registry.add(version("a"), NONE, None)
    registry.promote("1", "a")
    registry.promote("1", "a")
    registry.rollback("1")
    history = registry.history("1")
    assert [(c.champion, c.action) for c in history] == [
        ("a", "promoted"),
        ("classical-1", "rolled back"),
    ]
    assert all(c.at.endswith("+00:00") for c in history)


def test_a_version_is_promoted_instead_of_the_champion_it_was_compared_with_alone(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
    registry.promote("1", "a", instead_of=CLASSICAL_ID)
    with pytest.raises(ChampionChanged, match="a serves project 1 by now, not classical-1"):
        registry.promote("1", "b", instead_of=CLASSICAL_ID)
    registry.promote("1", "a", instead_of=CLASSICAL_ID)
    registry.promote("1", "b")
    assert [change.champion for change in registry.history("1")] == ["a", "b"]


def test_only_a_version_that_can_be_read_is_promoted(registry, weights):
    with pytest.raises(VersionNotFound):
        registry.promote("1", "trained-1")
    registry.add(version("trained-1"), NONE, weights)
    (registry.root / "versions" / "trained-1" / "version.json").write_text("{")
    with pytest.raises(BrokenVersion):
        registry.promote("1", "trained-1")
    assert registry.champion("1").id == "classical-1"


def test_a_corrupt_champion_file_says_what_to_do(registry):
    registry.add(version("a"), NONE, None)
    registry.promote("1", "a")
    (registry.root / "champions" / "1.json").write_text("{")
    with pytest.raises(BrokenVersion, match="move it away, then choose a champion"):
        registry.champion("1")


@pytest.mark.parametrize("project", ["", "../1", "a/b", "1\n"])
def test_a_project_never_leads_out_of_the_registry(registry, project):
    with pytest.raises(ValueError, match="is no project"):
        registry.promote(project, "classical-1")


def test_a_reader_sees_a_whole_champion_while_another_promotes(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
    registry.promote("1", "a")
    done = threading.Event()
    seen = []

    def read():
        while not done.is_set():
            seen.append(registry.champion("1").id)

    reader = threading.Thread(target=read)
    reader.start()
    for name in "ba" * 15:
        registry.promote("1", name)
    done.set()
    reader.join()
    assert len(seen) > 5
    assert set(seen) <= {"a", "b"}


def _promote_often(root, names):
    for name in names:
        Registry(root).promote("1", name)


@pytest.mark.integration
def test_two_processes_that_promote_at_once_lose_no_change(registry):
    for name in "abcd":
        registry.add(version(name), NONE, None)
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=_promote_often, args=(registry.root, names * 10))
        for names in ("ab", "cd")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(registry.history("1")) == 40


def test_the_classical_version_loads_and_finds_a_cell_without_torch(registry):
    loaded = registry.load("classical-1")
    pixels = np.full((64, 64), 20, np.uint8)
    y, x = np.mgrid[:64, :64]
    pixels[(y - 30) ** 2 + (x - 34) ** 2 < 100] = 200
    (found,) = loaded.find([ImageRecord(pixels, "00")])
    assert len(found.detections) == 1
    np.testing.assert_allclose(found.detections.xyxy_px[0], [25, 21, 44, 40], atol=2)
    script = "import sys, model.registry; sys.exit('torch' in sys.modules)"
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


def test_a_copy_beside_the_champions_is_of_no_project(registry, weights):
    registry.add(version("trained-1"), NONE, weights)
    registry.promote("7", "trained-1")
    champion = registry.root / "champions" / "7.json"
    champion.with_name("7 copy.json").write_text(champion.read_text())
    assert registry.promoted_in() == ("7",)
    assert registry.champion_of("trained-1") == ("7",)
    assert registry.champions() == {"trained-1"}


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
    monkeypatch.setattr("model.registry.remove_folder", remove_meanwhile)
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
