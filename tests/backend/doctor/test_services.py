from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import requests
from redis import Redis
from rq import Queue, Worker

from backend.credentials import FILE_NAME, Credentials
from backend.doctor import services as looking
from backend.doctor.examining import CHECKS, examine
from backend.doctor.findings import Finding, Installation
from backend.errors import BadSetting
from backend.running.lock import hold
from backend.running.ours import has_worker
from backend.settings import Settings
from tests.backend.conftest import CREDENTIALS, LEARN
from tests.backend.doctor.conftest import only


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def away(settings: Settings, free_port: int) -> Settings:
    """Settings under which nothing runs."""
    nowhere = {"redis_url": "unix:///nowhere/redis.sock", "port": free_port}
    return settings.model_copy(update=nowhere)


def test_redis_says_its_version(settings: Settings) -> None:
    found = only(looking.redis(Installation(settings)))
    assert found.level == "ok"
    assert " at unix://" in found.says


def test_a_redis_of_our_own_that_is_away_is_started_by_up_or_has_a_log(settings: Settings) -> None:
    ours = settings.model_copy(update={"redis_url": ""})
    assert "cytoloop up" in only(looking.redis(Installation(ours))).mend
    with hold(ours.home, "http://studio", "http://cytoloop"):
        assert only(looking.redis(Installation(ours))).mend.endswith("logs/redis.log")


def test_a_redis_that_was_named_is_told_by_its_setting(away: Settings) -> None:
    found = only(looking.redis(Installation(away)))
    assert (found.level, "CYTOLOOP_REDIS_URL" in found.mend) == ("fail", True)
    assert only(looking.worker(Installation(away))).mend == "Mend Redis first."


def test_a_worker_that_waits_is_alive_and_one_whose_process_is_gone_is_not(
    settings: Settings, dead_pid: int
) -> None:
    assert only(looking.worker(Installation(settings))).level == "fail"
    settings.home.mkdir()
    CREDENTIALS.save(settings.home)
    with Redis.from_url(settings.redis_address) as connection:
        worker = Worker([Queue(LEARN, connection=connection)], connection=connection)
        worker.register_birth()
        assert only(looking.worker(Installation(settings))).says == "1 alive, waiting"
        assert has_worker(settings.redis_address, CREDENTIALS.home_id)
        assert not has_worker(settings.redis_address, Credentials().home_id)
        connection.hset(worker.key, "pid", dead_pid)
        assert "(1 died)" in only(looking.worker(Installation(settings))).says
        assert not has_worker(settings.redis_address, CREDENTIALS.home_id)
        connection.hset(worker.key, "hostname", "another-host")
        assert only(looking.worker(Installation(settings))).level == "ok"


def test_the_worker_of_another_program_on_this_redis_is_none_of_ours(settings: Settings) -> None:
    with Redis.from_url(settings.redis_address) as connection:
        theirs = Worker([Queue("default", connection=connection)], connection=connection)
        theirs.register_birth()
        assert only(looking.worker(Installation(settings))).says.startswith("none:")
        assert not has_worker(settings.redis_address, CREDENTIALS.home_id)


def test_a_server_that_gives_its_metrics_too_late_is_told_to_be_slow(away: Settings) -> None:
    def late() -> requests.Response:
        raise requests.ReadTimeout("read timeout=2.0")

    installation = Installation(away)
    installation.__dict__.update(web_answers=True, metrics=late)
    found = only(looking.web(installation))
    assert (found.level, "slowly (read timeout=2.0)" in found.says) == ("warn", True)
    assert "web.log" in found.mend


def test_what_is_missing_of_the_credentials_is_not_written(settings: Settings) -> None:
    settings.home.mkdir()
    kept = settings.home / FILE_NAME
    kept.write_text('{"password": "p", "label_studio_token": "t"}')
    list(examine(settings))
    assert kept.read_text() == '{"password": "p", "label_studio_token": "t"}'


def test_a_port_that_another_program_has_is_told(
    settings: Settings, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.running.http.TIMEOUT_S", 0.1)
    installation = Installation(settings.model_copy(update={"port": taken_port}))
    found = only(looking.web(installation))
    assert found.says.startswith(f"port {taken_port} is taken by another program")
    assert "CYTOLOOP_PORT" in found.mend


def test_an_address_that_cytoloop_cannot_listen_on_is_told_with_what_to_do(
    away: Settings,
) -> None:
    elsewhere = away.model_copy(update={"host": "nowhere.invalid"})
    (found,) = examine(elsewhere, (looking.web,))
    assert found.mend.startswith("Cytoloop cannot listen on nowhere.invalid:")
    assert "choose another CYTOLOOP_HOST or port" in found.mend


def test_a_label_studio_that_is_away_is_told(settings: Settings) -> None:
    found = only(looking.label_studio(Installation(settings)))
    assert (found.level, found.says) == ("fail", "no Label Studio answers at http://127.0.0.1:9")


def test_a_label_studio_that_is_not_installed_is_told(settings: Settings, free_port: int) -> None:
    own = {"label_studio_url": "", "label_studio_command": "/nowhere/label-studio"}
    own |= {"label_studio_port": free_port}  # one of a person's own may run on the usual one
    found = only(looking.label_studio(Installation(settings.model_copy(update=own))))
    assert found.says == "is not installed"
    assert "make setup" in found.mend


def test_with_everything_away_each_part_says_what_to_do_and_nothing_is_made(
    away: Settings,
) -> None:
    database = {"database_url": "postgresql+psycopg://lab:hunter2@127.0.0.1:1/cytoloop"}
    found = list(examine(away.model_copy(update=database)))
    assert {"Redis", "Worker", "Cytoloop", "Label Studio"} <= {
        each.about for each in found if each.level == "fail"
    }
    assert all(each.mend for each in found if each.level != "ok")
    assert "hunter2" not in repr(found)
    assert not away.home.exists()


def test_a_check_that_breaks_hides_no_other(away: Settings) -> None:
    Credentials().save(away.home)

    def breaking(installation: Installation) -> Iterator[Finding]:
        raise RuntimeError("a fault")
        yield

    found = list(examine(away, (breaking, *CHECKS[:1])))
    assert [each.level for each in found] == ["fail", "ok"]
    assert "RuntimeError: a fault" in found[0].says


def test_a_check_that_knows_what_to_do_says_it(away: Settings) -> None:
    def refusing(installation: Installation) -> Iterator[Finding]:
        raise BadSetting("redis_url cannot be foo: it begins with redis://")
        yield

    (found,) = examine(away, (refusing,))
    assert found.mend == "redis_url cannot be foo: it begins with redis://"
