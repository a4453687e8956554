"""Our own Redis, for real."""

from __future__ import annotations

import pytest
from redis import Redis

from backend.running.redis import answers, redis_service
from backend.settings import Settings


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
    assert not answers(settings.redis_address)

    supervisor.start([service])

    with Redis.from_url(settings.redis_address) as connection:
        assert connection.lrange("queue", 0, -1) == [b"job"]


def test_only_its_owner_can_speak_to_it(supervisor, settings):
    supervisor.start([redis_service(settings)])
    assert settings.redis_socket.stat().st_mode & 0o077 == 0
