from __future__ import annotations

import shutil
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from backend.credentials import FILE_NAME, Credentials
from backend.doctor import machine
from backend.doctor.findings import Finding, Installation
from backend.doctor.machine import GB
from backend.settings import Settings
from tests.backend.doctor.conftest import only

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(Settings(home=tmp_path / "home"))


def test_the_packages_of_this_environment_are_as_required_and_named(
    installation: Installation,
) -> None:
    found = only(machine.packages(installation))
    assert found.level == "ok", found
    assert "torch 2." in found.says


def test_a_package_that_is_too_old_or_missing_is_named(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = ["flask>=99", "no-such-package>=1", 'old>=1; python_version < "3"']
    monkeypatch.setattr(metadata, "requires", lambda name: needed)
    found = only(machine.packages(installation))
    assert found.level == "fail"
    assert "wanted >=99; no-such-package is missing" in found.says
    assert "make setup" in found.mend


def test_a_misspelt_setting_is_told_with_the_one_that_may_be_meant(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOLOOP_DATA", "/sets")
    monkeypatch.setenv("CYTOLOOP_PORT", "9191")
    assert list(machine.settings(installation)) == []
    monkeypatch.setenv("CYTOLOOP_PROT", "1")
    monkeypatch.setenv("CYTOLOOP_XYZ", "1")
    port, other = machine.settings(installation)
    assert port.says == "CYTOLOOP_PROT is no setting, and nothing heeds it; CYTOLOOP_PORT is one"
    assert other.says == "CYTOLOOP_XYZ is no setting, and nothing heeds it"


@pytest.mark.parametrize(("free", "level"), [(50 * GB, "ok"), (3 * GB, "warn"), (0.2 * GB, "fail")])
def test_a_full_disk_is_told_before_a_run_needs_it(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, free: float, level: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100 * GB, 0, free))
    assert only(machine.disk(installation)).level == level


def test_a_gpu_that_was_asked_for_and_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_cuda", lambda: False)
    wanting = Installation(Settings(home=tmp_path, device="cuda"))
    assert only(machine.gpu(wanting)).level == "fail"
    assert only(machine.gpu(Installation(Settings(home=tmp_path, device="cpu")))).level == "ok"


def test_a_gpu_that_pytorch_cannot_use_is_told(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_cuda", lambda: True)
    monkeypatch.setattr(machine, "TRY_CUDA", "raise SystemExit(1)")
    assert only(machine.gpu(installation)).level == "warn"
    monkeypatch.setattr(machine, "TRY_CUDA", "print('NVIDIA H100')")
    assert only(machine.gpu(installation)) == Finding("GPU", "ok", "NVIDIA H100")


def test_a_home_that_is_not_there_yet_is_well_and_is_not_made(installation: Installation) -> None:
    assert only(machine.home(installation)).level == "ok"
    assert not installation.settings.home.exists()


def test_secrets_that_others_can_read_are_told(installation: Installation) -> None:
    home = installation.settings.home
    home.mkdir(mode=0o700)
    Credentials().save(home)
    assert [found.level for found in machine.home(installation)] == ["ok", "ok"]
    for path in (home, home / FILE_NAME):
        mode = path.stat().st_mode
        path.chmod(0o755)
        (told,) = [found for found in machine.home(installation) if found.level == "warn"]
        assert told.mend == f"chmod go= {path}"
        path.chmod(mode)


def test_a_home_too_deep_for_a_socket_is_told(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    findings = machine.home(Installation(Settings(home=deep)))
    assert [found.level for found in findings] == ["ok", "fail"]


def test_a_home_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    finding = only(machine.home(Installation(Settings(home=tmp_path / "home"))))
    assert "is no folder" in finding.says
    assert "CYTOLOOP_HOME" in finding.mend
