"""docker-compose.yml and Dockerfile say only what is true; no Docker engine is needed for that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from backend.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
SECRETS = ("CYTOLOOP_LABEL_STUDIO_TOKEN", "CYTOLOOP_BACKEND_PASSWORD", "CYTOLOOP_WEBHOOK_SECRET")
EVERY_SECRET = dict.fromkeys((*SECRETS, "LABEL_STUDIO_PASSWORD"), "x")


def run_config(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("docker-compose is not installed (apt-get install docker-compose)")
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
    return subprocess.run(
        [program, "--file", "docker-compose.yml", "config"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def composed() -> dict[str, dict]:
    done = run_config(EVERY_SECRET)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["services"]


def test_compose_has_the_whole_loop(composed):
    assert set(composed) == {"label-studio", "postgres", "redis", "web", "worker"}


@pytest.mark.integration
@pytest.mark.parametrize("secret", EVERY_SECRET)
def test_compose_refuses_to_start_without_a_secret(secret):
    done = run_config({k: v for k, v in EVERY_SECRET.items() if k != secret})
    assert done.returncode != 0
    assert secret in done.stderr


def test_the_worker_reserves_a_gpu(composed):
    (device,) = composed["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_web_and_worker_are_given_the_same_settings(composed):
    assert composed["web"]["environment"] == composed["worker"]["environment"]


def test_every_variable_of_cytoloop_in_compose_and_dockerfile_is_a_setting():
    text = (ROOT / "docker-compose.yml").read_text() + (ROOT / "Dockerfile").read_text()
    named = {n.lower() for n in re.findall(r"\bCYTOLOOP_([A-Z_]+)", text)}
    assert len(named) > 5
    assert named <= set(Settings.model_fields)


def test_the_addresses_in_compose_are_those_of_its_services(composed):
    for name in ("CYTOLOOP_BACKEND_URL", "CYTOLOOP_LABEL_STUDIO_URL", "CYTOLOOP_REDIS_URL"):
        address = composed["web"]["environment"][name]
        assert re.search(r"//([\w-]+):", address)[1] in composed


def test_the_addresses_for_a_browser_are_none_that_only_the_services_know(composed):
    for name in ("CYTOLOOP_BROWSER_URL", "CYTOLOOP_LABEL_STUDIO_BROWSER_URL"):
        address = composed["web"]["environment"][name]
        assert re.search(r"//([\w-]+):", address)[1] not in composed


def test_what_keeps_state_lies_in_a_volume(composed):
    assert "cytoloop:/data" in str(composed["web"]["volumes"])
    assert composed["web"]["environment"]["CYTOLOOP_HOME"] == "/data"
    for name in ("web", "worker"):
        assert any(str(volume).startswith("cytoloop") for volume in composed[name]["volumes"])


def test_a_service_that_another_waits_for_says_whether_it_is_well(composed):
    awaited = {
        name
        for service in composed.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }
    assert awaited == {"postgres", "redis", "web"}
    assert all("healthcheck" in composed[name] for name in awaited)


def test_the_web_process_may_take_a_minute_to_start(composed):
    assert composed["web"]["healthcheck"]["start_period"] in ("60s", "1m", "1m0s")


def test_an_image_of_our_own_is_built_and_never_pulled(composed):
    built = {service["image"] for service in composed.values() if "build" in service}
    others = [s for s in composed.values() if s["image"] in built and "build" not in s]
    assert built == {"cytoloop"}
    assert [service["pull_policy"] for service in others] == ["never"]


def test_each_command_in_compose_is_one_of_cytoloops(composed):
    from backend.cli import make_app

    known = {command.name for command in make_app().registered_commands}
    for service in ("web", "worker"):
        program, command = composed[service]["command"]
        assert program == "cytoloop"
        assert command in known


def test_every_file_the_dockerfile_copies_is_there_and_not_ignored():
    copied = [
        word
        for line in re.findall(r"^COPY (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        for word in line.split()[:-1]
    ]
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert len(copied) > 5
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert sorted(copied) == sorted(allowed)
