"""`cytoloop doctor` on the real thing: well while it runs, told what is wrong when it is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest

from backend.labelstudio.client import LabelStudio
from benchmarks.installation import CYTOLOOP

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def levels(loop) -> dict[str, str]:
    command = [CYTOLOOP, "doctor", "--json"]
    done = subprocess.run(command, env=loop.variables, capture_output=True, text=True, check=False)
    found = {finding["about"]: finding["level"] for finding in json.loads(done.stdout)}
    assert done.returncode == ("fail" in found.values())
    return found


def take_the_secret_away(studio: LabelStudio) -> None:
    hook = studio.webhooks(1)[0]
    studio.secure_webhooks(1, hook["url"], "another secret")


def test_a_loop_that_runs_is_well_a_webhook_arrives_and_what_breaks_is_told(make_loop, wait):
    loop = make_loop()
    loop.up()
    well = levels(loop)
    assert well["Webhook"] == well["Project 1"] == well["Worker"] == well["Token"] == "ok"

    take_the_secret_away(loop.label_studio)
    assert levels(loop)["Project 1"] == "fail"

    os.kill(loop.process.pid, signal.SIGKILL)
    loop.process.wait()
    assert wait(lambda: not loop.processes(), 15)
    away = levels(loop)
    failing = {about for about, level in away.items() if level == "fail"}
    assert failing == {"Redis", "Worker", "Cytoloop", "Label Studio", "Projects"}
