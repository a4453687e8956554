"""Our own Redis, for real."""

from __future__ import annotations

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from backend.credentials import Credentials
from backend.queue import name_in
from backend.running.ours import worker_service
from backend.running.redis import pings, redis_service
from backend.settings import Settings
from tests.conftest import wait_until


@pytest.fixture
def settings(tmp_path_factory):
    # A short path: pytest's own are near the longest that a socket may have.
    return Settings(home=tmp_path_factory.mktemp("r"))


def test_what_was_queued_is_there_after_a_restart(supervisor, settings):
    service = redis_service(settings)
    supervisor.start([service])
    with Redis.from_url(settings.redis_address) as connection:
        connection.lpush("queue", "job")
    supervisor.stop()
    assert not pings(settings.redis_address)

    supervisor.start([service])

    with Redis.from_url(settings.redis_address) as connection:
        assert connection.lrange("queue", 0, -1) == [b"job"]


@pytest.mark.integration
@pytest.mark.parametrize("name", ["my cells", "a=b#c?d%20e"])
def test_a_worker_works_in_a_home_of_any_name(supervisor, tmp_path_factory, name):
    settings = Settings(home=tmp_path_factory.mktemp("r") / name)
    settings.make_home()
    supervisor.start([redis_service(settings)])
    supervisor.start([worker_service(settings)])
    with Redis.from_url(settings.redis_address) as connection:
        learn = name_in(Credentials.load_or_create(settings).home_id, "learn")
        queue = Queue(learn, connection=connection, serializer=JSONSerializer)
        job = queue.enqueue_call("os.getenv", args=("CYTOLOOP_HOME",))
        wait_until(lambda: job.is_finished, seconds=20)
        assert job.return_value() == str(settings.home)


def test_only_its_owner_can_speak_to_it(supervisor, settings):
    supervisor.start([redis_service(settings)])
    assert settings.redis_socket.stat().st_mode & 0o077 == 0
