from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from backend.credentials import FILE_NAME, Credentials
from backend.errors import BadSetting
from backend.services import build_services
from backend.settings import Settings


def test_credentials_are_made_once_for_their_owner_alone_and_settings_take_precedence(
    settings: Settings,
) -> None:
    made = Credentials.load_or_create(settings)
    path = settings.home / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Credentials.load_or_create(settings) == made
    chosen = settings.model_copy(update={"webhook_secret": "chosen"})
    assert Credentials.load_or_create(chosen).webhook_secret == "chosen"
    assert Credentials.load_or_create(settings).webhook_secret == made.webhook_secret


def test_those_who_start_on_a_new_home_at_once_have_the_same_credentials(
    settings: Settings,
) -> None:
    at_once = Barrier(4)

    def start(_: int) -> Credentials:
        at_once.wait()
        return Credentials.load_or_create(settings)

    with ThreadPoolExecutor(at_once.parties) as threads:
        started = set(threads.map(start, range(at_once.parties)))
    assert started == {Credentials.load(settings)}


def test_a_home_is_made_for_its_owner_alone_and_one_that_is_there_stays_as_it_is(
    settings: Settings,
) -> None:
    for mode in (0o700, 0o755):
        build_services(settings).engine.dispose()
        assert stat.S_IMODE(settings.home.stat().st_mode) == mode
        settings.home.chmod(0o755)


def test_a_home_is_told_from_others_wherever_it_lies_and_whatever_is_chosen(
    settings: Settings, tmp_path: Path
) -> None:
    made = Credentials.load_or_create(settings).home_id
    moved = settings.home.rename(tmp_path / "moved")
    chosen = {"home": moved, "webhook_secret": "chosen", "label_studio_token": "chosen"}
    assert Credentials.load_or_create(settings.model_copy(update=chosen)).home_id == made
    assert Credentials.load_or_create(settings).home_id != made


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"colour": "blue"}', "\x00"])
def test_a_damaged_file_is_named_and_stays_as_it_is(settings: Settings, text: str) -> None:
    settings.home.mkdir()
    path = settings.home / FILE_NAME
    path.write_text(text)
    with pytest.raises(BadSetting, match="put it back from a copy"):
        Credentials.load_or_create(settings)
    assert path.read_text() == text


def test_who_only_reads_makes_and_keeps_nothing(settings: Settings) -> None:
    assert Credentials.load(settings) is None
    assert not settings.home.exists()
    made = Credentials.load_or_create(settings)
    assert Credentials.load(settings) == made
    path = settings.home / FILE_NAME
    path.write_text(json.dumps({"password": "p", "label_studio_token": "t"}))
    before = path.read_bytes()
    read = Credentials.load(settings.model_copy(update={"webhook_secret": "chosen"}))
    assert read is not None
    assert (read.password, read.webhook_secret) == ("p", "chosen")
    assert path.read_bytes() == before


def test_a_secret_that_was_deleted_to_get_another_is_made_once(settings: Settings) -> None:
    made = Credentials.load_or_create(settings)
    path = settings.home / FILE_NAME
    told = json.loads(path.read_text())
    del told["backend_password"], told["webhook_secret"]
    path.write_text(json.dumps(told))

    first, again = (Credentials.load_or_create(settings) for _ in range(2))

    assert first == again
    assert first.label_studio_token == made.label_studio_token
    assert first.backend_password != made.backend_password
