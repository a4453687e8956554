from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import make_url

from backend.errors import BadSetting
from backend.settings import PORTS_FILE, Settings
from model.classical.detector import CLASSICAL_ID
from model.config import CONTRASTS, PRESETS
from model.keeping.starter import STARTER_ID
from preprocessing.contrast import ContrastConfig


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HOST", "::", "IPv4 address, 0.0.0.0 to listen to all"),
        ("PORT", "ninety", "valid integer"),
        ("PORT", "70000", "65535"),
        ("MILESTONES", "5,ten", "numbers such as 5,10,20"),
        ("MILESTONES", "20,10", "ascending"),
        ("MILESTONES", "2,5", "a run at 2 would be refused: begin with 3 or more"),
        ("PRESET", "m99", "there are default, fast, m03"),
        ("CONTRAST", "matched", "there are stretch, none, single, groups, groups-half, flat"),
        ("ITERATIONS", "-3", "iterations cannot be '-3': it must be at least 0"),
        ("WATCH_SHARE", "7", "it must be at most 1"),
        ("DEVICE", "gpu", "device cannot be 'gpu': it must be 'auto', 'cpu' or 'cuda'"),
        ("REDIS_URL", "localhost", "begins with redis://"),
        ("REDIS_URL", "redis://localhost:99999/0", "its port or an option is none"),
        (
            "REDIS_URL",
            "redis://:hunter2@localhost:63790x/0",
            "cannot be what it is: its port",
        ),
        ("LOG_LEVEL", "loud", "'WARNING'"),
        ("BACKEND_PASSWORD", "Zählwerk", "cannot be what it is: .* ASCII"),
        ("BACKEND_USER", "lab:anna", "colon"),
        ("FIRST_VERSION", "trained-1", f"'{STARTER_ID}' or 'classical-1'"),
        ("HOME", "~nosuch/cells", "nobody of that name has a folder here"),
        ("BACKEND_URL", "http://[x", r"it is no address .* \(Invalid IPv6 URL\)"),
        ("BROWSER_URL", "labels.example.org:9090", "it is no address .* http:// or https://"),
        ("LABEL_STUDIO_URL", "http://lab:eight", "it is no address .*Port could not be cast"),
        ("ITERATIONS", "1000000000000", "must be at most 1000000"),
        ("DATABASE_URL", "sqlite://", "write sqlite:////data/cytoloop.db"),
        ("DATABASE_URL", "sqlite:///:memory:", "it is one file for all processes"),
        ("DATABASE_URL", "sqlite+pysqlite:///file:/a.db?uri=true", r"write sqlite\+pysqlite:////"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_it_may_be(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"CYTOLOOP_{name}", value)
    with pytest.raises(BadSetting, match=said) as caught:
        Settings()
    assert "hunter2" not in str(caught.value)
    assert f"Correct CYTOLOOP_{name}, or the option of that name." in str(caught.value)


def test_all_settings_that_cannot_be_are_named_at_once() -> None:
    with pytest.raises(BadSetting, match=r"port cannot be 0[\s\S]*device cannot be 'gpu'"):
        Settings(port=0, device="gpu")


def test_an_address_may_end_in_a_slash(tmp_path: Path) -> None:
    names = ("backend_url", "browser_url", "label_studio_url", "label_studio_browser_url")
    settings = Settings(home=tmp_path, **dict.fromkeys(names, "http://web:9090/"))
    assert {getattr(settings, name) for name in names} == {"http://web:9090"}


@pytest.mark.parametrize(
    ("host", "asked"), [("0.0.0.0", "127.0.0.1"), ("10.1.2.3", "10.1.2.3"), ("lab-pc", "lab-pc")]
)
def test_servers_are_asked_where_they_listen_and_at_the_loopback_if_everywhere(
    tmp_path: Path, host: str, asked: str
) -> None:
    settings = Settings(home=tmp_path, host=host)
    assert settings.backend_address == f"http://{asked}:9090"
    assert settings.label_studio_address == f"http://{asked}:8080"


def test_a_database_that_would_be_another_in_each_folder_is_refused(tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'data' / 'loop.db'}"
    with pytest.raises(BadSetting, match=f"the loop in the home: write {there}"):
        Settings(home=tmp_path, database_url="sqlite:///data/loop.db")
    for url in (there, "postgresql+psycopg://lab@localhost/cells"):
        assert Settings(home=tmp_path, database_url=url).database_address == url


@pytest.mark.parametrize("name", ["my cells", "50%20cells", "a#b", "a?b=c&d", "a@b:c", "Zählung"])
def test_a_home_may_be_called_anything(tmp_path: Path, name: str) -> None:
    settings = Settings(home=tmp_path / name)
    assert make_url(settings.database_address).database == str(tmp_path / name / "cytoloop.db")
    with Redis.from_url(settings.redis_address) as connection:
        assert connection.connection_pool.connection_kwargs["path"] == str(settings.redis_socket)


def test_every_setting_is_described() -> None:
    described = set(re.findall(r"\w+", Settings.__doc__ or ""))
    assert set(Settings.model_fields) <= described


def test_a_log_level_may_be_written_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYTOLOOP_LOG_LEVEL", "warning")
    assert Settings().log_level == "WARNING"


def test_the_starter_of_an_earlier_release_means_that_of_today() -> None:
    assert Settings(first_version="starter-1").first_version == STARTER_ID
    assert Settings(first_version=CLASSICAL_ID).first_version == CLASSICAL_ID


def test_the_recipe_is_the_preset_for_as_many_iterations_as_were_chosen(tmp_path: Path) -> None:
    assert Settings(home=tmp_path).recipe == PRESETS["default"]
    detector, training = Settings(home=tmp_path, preset="m03", iterations=7).recipe
    assert (detector, training.iterations) == (PRESETS["m03"][0], 7)


def test_contrast_is_treated_as_was_chosen_and_else_by_the_presets_own_way(tmp_path: Path) -> None:
    ways = {"default": CONTRASTS["stretch"], "m06": CONTRASTS["groups"]}
    for preset, way in ways.items():
        assert Settings(home=tmp_path, preset=preset).recipe[1].contrast == way
        half = Settings(home=tmp_path, preset=preset, contrast="groups-half").recipe[1].contrast
        assert half == ContrastConfig(mode="groups", strength=0.5)


@pytest.mark.parametrize("kept", ["{", '{"port": "ninety"}', "[1]"])
def test_kept_ports_that_cannot_be_read_are_told_with_their_file(tmp_path: Path, kept: str) -> None:
    (tmp_path / PORTS_FILE).write_text(kept)
    with pytest.raises(BadSetting, match=rf"{PORTS_FILE} cannot be read .*: delete it"):
        Settings(home=tmp_path)


def test_an_address_that_is_not_told_follows_from_one_that_is(tmp_path: Path) -> None:
    here = Settings(home=tmp_path, host="0.0.0.0", port=9191)
    assert here.address_here == here.backend_address == here.browser_address
    assert here.address_here == "http://127.0.0.1:9191"
    told = Settings(home=tmp_path, port=9191, backend_url="http://web:9090")
    assert (told.browser_address, told.webhook_address) == (
        "http://web:9090",
        "http://web:9090/webhook",
    )
    abroad = Settings(home=tmp_path, backend_url="http://web:9090", browser_url="https://lab.org")
    assert (abroad.browser_address, abroad.backend_address) == (
        "https://lab.org",
        "http://web:9090",
    )
