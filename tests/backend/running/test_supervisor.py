"""Starting, watching and ending real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from backend.running import supervisor as supervisor_module
from backend.running.errors import ServiceFailed
from backend.running.processes import Process
from tests.backend.running.conftest import ended
from tests.conftest import wait_until

WITH_A_GRANDCHILD = """
setsid sleep 60 &
echo $! > "$NAME"
wait
"""
STUBBORN = 'trap "" TERM; echo $$ > "$NAME"; while true; do sleep 1; done'

HOPELESS = """
echo $$ > "$NAME"
while [ ! -e "$NAME.may-die" ]; do sleep 0.02; done
echo out of memory
exit 9
"""


def test_services_are_stopped_in_reverse_order_of_their_start(supervisor, report, shell):
    supervisor.start([shell("first"), shell("second")])
    supervisor.stop()

    assert {"ready first", "ready second"} <= set(report.lines)
    assert report.lines[-2:] == ["stopping second", "stopping first"]


def test_a_service_that_ends_at_once_is_reported_with_the_end_of_its_log(supervisor, shell):
    with pytest.raises(ServiceFailed, match=r"Broken ended with 3\.[\s\S]*no such database"):
        supervisor.start([shell("broken", "echo no such database; exit 3")])


def test_a_service_that_ended_is_not_up_though_another_answers_in_its_place(tmp_path, shell):
    (tmp_path / "second").write_text("another's")
    process = Process(shell("second", "exit 1"), tmp_path / "second.log", tmp_path)
    wait_until(lambda: process.exit_code is not None)
    with pytest.raises(ServiceFailed, match=r"Second ended with 1\."):
        process.is_up()


def test_a_service_that_never_answers_is_reported_in_time(supervisor, shell):
    with pytest.raises(ServiceFailed, match="did not answer within 0 s"):
        supervisor.start([shell("silent", "exec sleep 60", patience_s=0.2)])


def test_what_a_service_started_in_a_session_of_its_own_ends_with_it(
    supervisor, shell, written_pid
):
    supervisor.start([shell("parent", WITH_A_GRANDCHILD)])
    grandchild = written_pid("parent")

    supervisor.stop()

    assert ended(grandchild)


def test_a_service_deaf_to_sigterm_is_killed_after_its_grace(supervisor, shell, written_pid):
    supervisor.start([shell("deaf", STUBBORN, grace_s=0.2)])

    supervisor.stop()

    assert ended(written_pid("deaf"))


@pytest.mark.integration
def test_a_service_that_dies_is_started_again(supervisor, report, shell, written_pid):
    supervisor.start([shell("mortal")])
    first = written_pid("mortal")
    watching = threading.Thread(target=supervisor.watch, daemon=True)
    watching.start()

    os.kill(first, signal.SIGKILL)
    wait_until(lambda: written_pid("mortal") != first)

    assert "restarting mortal: was ended by SIGKILL." in report.lines


@pytest.mark.integration
def test_what_died_is_started_again_at_one_look(
    supervisor, report, shell, written_pid, monkeypatch
):
    shorter = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.05)))
    monkeypatch.setattr(supervisor_module, "time", shorter)
    supervisor.start([shell("mortal")])
    first = written_pid("mortal")
    supervisor.revive()
    assert written_pid("mortal") == first

    os.kill(first, signal.SIGKILL)
    assert ended(first)
    supervisor.revive()

    assert report.lines[-2:] == ["restarting mortal: was ended by SIGKILL.", "ready mortal"]


@pytest.mark.integration
def test_a_service_that_keeps_dying_ends_the_watch_with_its_reason(
    supervisor, shell, tmp_path, monkeypatch
):
    monkeypatch.setattr(supervisor_module, "RESTARTS", 1)
    supervisor.start([shell("hopeless", HOPELESS)])
    (tmp_path / "hopeless.may-die").touch()

    with pytest.raises(ServiceFailed, match=r"died 2 times and ended with 9\.[\s\S]*out of memory"):
        supervisor.watch()


def test_killing_the_supervisor_by_sigkill_leaves_no_process(tmp_path: Path):
    script = textwrap.dedent(
        f"""
        import pathlib, sys
        from backend.running.processes import Process, Service
        service = Service("left", "Left", ("sleep", "60"), "", lambda pid: True)
        process = Process(service, pathlib.Path({str(tmp_path)!r}) / "left.log", pathlib.Path("/"))
        print(process.pid, flush=True)
        sys.stdin.read()
        """
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        child = int(parent.stdout.readline())
        parent.kill()

    assert ended(child)
