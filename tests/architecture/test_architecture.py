"""What holds everywhere in the repository, whoever wrote it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from backend.running.label_studio import TESTED

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PACKAGES = ("backend", "model", "preprocessing")
IMPORT_TORCH = {"model/rcnn", "model/training"}
REGISTRY = re.compile(r"""https?://[^\s"']*(?:/simple\b|pypi|pythonhosted|\.whl\b|\.tgz\b)""")
#: A path of somebody's machine; `/home` alone may be meant in general.
OWN_PATH = re.compile(r"/(?:root|Users|home/\w+|work)/\w")


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def texts(*patterns: str) -> dict[str, str]:
    found = {}
    for path in tracked(*patterns):
        data = path.read_bytes() if path.is_file() else b""
        if b"\0" not in data:
            found[str(path.relative_to(ROOT))] = data.decode("utf-8")
    return found


def test_the_import_contracts_hold():
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def imported_at_the_top(source: str) -> set[str]:
    """Return the packages that a module imports when it is imported itself."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_only_the_detector_and_its_training_import_torch_when_imported():
    sources = texts(*(f"{package}/*.py" for package in PACKAGES))
    importing = {
        str(Path(name).parent)
        for name, source in sources.items()
        if imported_at_the_top(source) & {"torch", "torchvision", "safetensors"}
    }
    assert importing == IMPORT_TORCH


@pytest.mark.integration
def test_web_and_the_workers_parent_start_without_torch(tmp_path):
    heavy = {"torch", "torchvision", "label_studio_ml"}
    script = f"import sys, backend.wsgi, backend.jobs; print({heavy} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"CYTOLOOP_HOME": str(tmp_path), "PATH": str(BIN)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_no_tracked_file_names_a_registry_or_a_path_of_one_machine():
    for name, text in texts().items():
        assert not REGISTRY.search(text), f"{name} names a package registry"
        assert not OWN_PATH.search(text), f"{name} names {OWN_PATH.search(text)}"


def test_make_test_does_all_that_make_check_does():
    def commands(goal: str) -> set[str]:
        done = subprocess.run(
            ["make", "--dry-run", goal], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return set(done.stdout.splitlines())

    assert any("mypy" in command for command in commands("check"))
    assert commands("check") <= commands("test")


def needs(lines: Iterable[str]) -> list[Requirement]:
    """Return what requirements ask for here, extras left aside."""
    asked = map(Requirement, lines)
    return [need for need in asked if need.marker is None or need.marker.evaluate({"extra": ""})]


def test_the_package_can_be_installed_where_no_requirement_is_overruled():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = needs(project["dependencies"])
    amiss, names = [], {need.name for need in wanted}
    while wanted:
        need = wanted.pop()
        if not need.specifier.contains(metadata.version(need.name), prereleases=True):
            amiss.append(str(need))
        below = needs(metadata.requires(need.name) or ())
        wanted += [one for one in below if one.name not in names]
        names |= {one.name for one in below}
    assert amiss == []


def test_label_studio_is_one_version_everywhere():
    named = {
        (name, version)
        for name, text in texts("Makefile", "*.yml", "constraints-label-studio.txt").items()
        for version in re.findall(r"label-studio(?:==|:)(\d+\.[\d.]+)", text)
    }
    assert {name for name, _ in named} == {
        "Makefile",
        "docker-compose.yml",
        "constraints-label-studio.txt",
    }
    (version,) = {version for _, version in named}
    assert version.startswith(f"{TESTED}.")
