"""What is said before anything starts."""

from __future__ import annotations

import fcntl
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from backend.credentials import Credentials
from backend.errors import BadSetting
from backend.running.errors import AlreadyRunning, PortBusy, ProgramMissing, RunningError
from backend.running.label_studio import environment, program
from backend.running.lock import FILE_NAME, hold, holder
from backend.running.loop import run_loop
from backend.running.ports import is_free, require_free
from backend.running.redis import redis_service
from backend.settings import Settings
from benchmarks.installation import free_port
from model.atomic import try_lock


@pytest.fixture
def busy_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_a_busy_port_is_named_with_both_ways_out(busy_port):
    with pytest.raises(PortBusy) as raised:
        require_free("127.0.0.1", busy_port, "Cytoloop", "--port", "CYTOLOOP_PORT")

    for word in (str(busy_port), "Cytoloop", f"--port {busy_port + 1}", "CYTOLOOP_PORT"):
        assert word in str(raised.value)


def test_a_port_that_was_let_go_is_free():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert not is_free("127.0.0.1", port)
    assert is_free("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_nobody_can_listen_on_is_named_with_what_to_do(host: str):
    said = rf"cannot listen on {host}:9090 \(.+\): choose another CYTOLOOP_HOST or port"
    with pytest.raises(RunningError, match=said) as raised:
        require_free(host, 9090, "Cytoloop", "--port", "CYTOLOOP_PORT")
    assert not isinstance(raised.value, PortBusy)


def test_the_ports_that_up_was_given_hold_for_every_later_command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    ours = {"label_studio_url": "", "label_studio_command": "/nowhere/label-studio"}
    chosen = {"port": free_port(), "label_studio_port": free_port()}
    with pytest.raises(ProgramMissing):  # this far it starts
        run_loop(settings.model_copy(update=ours | chosen))

    later = Settings(home=settings.home)
    assert (later.port, later.label_studio_port) == tuple(chosen.values())
    monkeypatch.setenv("CYTOLOOP_PORT", "9123")
    assert Settings(home=settings.home).port == 9123
    assert Settings(home=settings.home, port=9124).port == 9124


def test_a_port_that_is_busy_is_not_kept(settings: Settings, busy_port):
    with pytest.raises(PortBusy):
        run_loop(settings.model_copy(update={"port": busy_port}))

    assert Settings(home=settings.home).port == 9090


def test_one_port_for_cytoloop_and_our_own_label_studio_is_refused_and_not_kept(
    settings: Settings,
):
    port = free_port()
    one = {"label_studio_url": "", "port": port, "label_studio_port": port}
    with pytest.raises(BadSetting, match=rf"both listen on port {port}: .* --label-studio-port"):
        run_loop(settings.model_copy(update=one))

    assert Settings(home=settings.home).port == 9090


def test_a_home_is_held_once_and_the_second_is_told_by_whom(tmp_path: Path):
    second = (
        "from backend.running.lock import hold; import pathlib, sys\n"
        "with hold(pathlib.Path(sys.argv[1]), 'a', 'b'): pass"
    )
    with hold(tmp_path, "http://ls", "http://cytoloop"):
        told = subprocess.run(
            [sys.executable, "-c", second, str(tmp_path)], capture_output=True, text=True
        )
        by = holder(tmp_path)

    assert "AlreadyRunning" in told.stderr
    assert "http://ls" in told.stderr
    assert by is not None
    assert by.dashboard == "http://cytoloop"
    assert holder(tmp_path) is None


def test_a_home_is_free_again_after_its_holder(tmp_path: Path):
    with hold(tmp_path, "a", "b"), pytest.raises(AlreadyRunning), hold(tmp_path, "c", "d"):
        pass
    with hold(tmp_path, "e", "f"):
        by = holder(tmp_path)
    assert by is not None
    assert by.label_studio == "e"


def test_who_asks_whether_a_home_is_held_is_not_taken_for_who_holds_it(tmp_path: Path):
    with hold(tmp_path, "a", "b"):
        pass
    with (tmp_path / FILE_NAME).open() as asking:
        assert asking.read() == ""
        assert try_lock(asking.fileno(), shared=True)
        assert holder(tmp_path) is None
        threading.Timer(0.03, partial(fcntl.flock, asking, fcntl.LOCK_UN)).start()
        with hold(tmp_path, "c", "d"):
            assert holder(tmp_path) is not None


def test_a_label_studio_that_is_not_installed_is_named_with_what_to_do(tmp_path: Path):
    settings = Settings(home=tmp_path, label_studio_command=str(tmp_path / "no-such-program"))
    with pytest.raises(ProgramMissing, match="make setup"):
        program(settings)


def test_where_cytoloop_is_installed_as_a_package_label_studio_is_looked_for_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("backend.running.label_studio.IS_CHECKOUT", False)
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = Settings(home=tmp_path / "home")
    with pytest.raises(ProgramMissing) as missing:
        program(settings)
    assert "not found: label-studio. Install it in an environment of its own" in str(missing.value)
    assert "make setup" not in str(missing.value)
    there = tmp_path / "label-studio"
    there.touch(0o755)
    assert program(settings) == str(there)


def test_label_studio_keeps_its_data_and_words_at_home(tmp_path: Path):
    credentials = Credentials()
    variables = environment("http://127.0.0.1:1", tmp_path, credentials)
    assert variables["LABEL_STUDIO_BASE_DATA_DIR"] == str(tmp_path)
    assert variables["LABEL_STUDIO_USER_TOKEN"] == credentials.label_studio_token
    assert variables["COLLECT_ANALYTICS"] == "False"


def test_a_home_too_deep_for_a_socket_is_named(tmp_path: Path):
    with pytest.raises(RunningError, match="too long a path for a socket"):
        redis_service(Settings(home=tmp_path / ("deep" * 30)))
