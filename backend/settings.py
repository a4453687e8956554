"""All settings of Cytoloop, from environment variables: `CYTOLOOP_` and the field's name."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backend.errors import BadSetting
from model.config import CONTRASTS, PRESETS, DetectorConfig, TrainConfig
from model.keeping.starter import STARTER_ID, StarterId, is_starter
from model.labels.sides import FEWEST_OF_FIVE

if TYPE_CHECKING:
    from model.keeping.registry import Registry

PREFIX = "CYTOLOOP_"
PACKAGE_ROOT = Path(__file__).resolve().parent.parent
#: Whether this is a checkout of the repository, where `make` sets up what is missing.
IS_CHECKOUT = (PACKAGE_ROOT / "Makefile").exists()
#: In the home: the ports on which `cytoloop up` last ran.
PORTS_FILE = "ports.json"
PORTS = ("port", "label_studio_port")
#: An address to listen on, but not to send requests to.
_EVERYWHERE = "0.0.0.0"  # noqa: S104
_SQLITE = re.compile(r"(?P<dialect>sqlite(\+\w+)?)://(/(?P<file>.*))?")
#: Settings whose values are never shown, not even if they cannot be used.
_SECRETS = ("backend_password", "webhook_secret", "redis_url")


class Settings(BaseSettings):
    """What a person can choose about an installation.

    Parameters
    ----------
    home
        Folder of everything that must survive a restart.
    host, port
        Address of Cytoloop's own web server; without a chosen port, the one kept in the home. The
        Label Studio that `cytoloop up` starts listens on ``host`` too.
    backend_url
        Address at which Label Studio reaches the web server; if empty, from host and port.
    browser_url
        Address at which annotators' browsers reach it; if empty, ``backend_url``. Imported tasks
        store it in the address of the detector's view of their image.
    label_studio_url, label_studio_token
        A Label Studio that already runs; if empty, the one that `cytoloop up` starts.
    label_studio_browser_url
        Its address for annotators' browsers; if empty, the address that Cytoloop uses.
    label_studio_port, label_studio_command
        Port of the Label Studio that `cytoloop up` starts, and its program, if that is neither the
        one of `make setup` nor (with Cytoloop installed as a package) on the path.
    label_config
        File with the labels for projects that `cytoloop up` makes.
    backend_user, backend_password, webhook_secret
        Credentials that Label Studio and people present to Cytoloop. If empty, password and secret
        are made and kept in the home.
    redis_url, database_url
        If empty, our own Redis on a socket and an SQLite file, both under ``home``. Another SQLite
        file needs its absolute path: ``sqlite:////data/cytoloop.db``. Other homes may share the
        Redis, but not the database.
    milestones, milestone_step
        Numbers of corrected images at which a run starts, and the step after the last of them.
    default_class
        Class of the boxes of a version that does not know the project's classes.
    first_version
        The version that serves a project before its first training, and from which this training
        begins: ``starter-`` and a number, which means the shipped starter whatever the number, or
        ``classical-1``, with which training begins from nothing.
    preset, iterations, device
        What to train: a name in ``model.config.PRESETS``; optimiser steps (0: from the number of
        images); ``auto``, ``cpu`` or ``cuda``.
    contrast
        How trained versions see contrast, a name in ``model.config.CONTRASTS``; if empty, as in the
        preset.
    poll_s
        Seconds between two looks for what Label Studio's events did not report; 0: never. Then
        corrections of tasks that were never opened only count from the next run on.
    watch_share
        Share of tasks that open without boxes or with a planted fault, to see how well boxes are
        checked (docs/effort.md), in [0, 1]; 0: none.
    job_timeout_s, predict_budget_s
        Longest time for a training, and for the answer to one /predict.
    log_level
        ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.

    Raises
    ------
    BadSetting
        A setting cannot be used as it is; the message names it.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True)

    home: Path = Field(default_factory=lambda: Path.home() / ".cytoloop")
    host: str = "127.0.0.1"
    port: int = Field(default=9090, ge=1, le=65535)
    backend_url: str = ""
    browser_url: str = ""
    label_studio_url: str = ""
    label_studio_browser_url: str = ""
    label_studio_port: int = Field(default=8080, ge=1, le=65535)
    label_studio_token: str = ""
    label_studio_command: str = ""
    redis_url: str = ""
    database_url: str = ""
    label_config: Path = PACKAGE_ROOT / "label_config.xml"
    backend_user: str = "cytoloop"
    backend_password: str = ""
    webhook_secret: str = ""
    milestones: Annotated[tuple[int, ...], NoDecode] = (3, 5, 10, 20, 40, 80)
    milestone_step: int = Field(default=50, ge=0)
    default_class: str = ""
    first_version: Literal[StarterId, "classical-1"] = STARTER_ID
    preset: str = "default"
    iterations: int = Field(default=0, ge=0, le=1_000_000)  # days, on any machine
    contrast: str = ""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    poll_s: float = Field(default=30.0, ge=0.0)
    watch_share: float = Field(default=0.0, ge=0.0, le=1.0)
    job_timeout_s: int = Field(default=24 * 3600, ge=1)
    predict_budget_s: float = Field(default=90.0, gt=0.0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise BadSetting(_in_words(error)) from error

    @field_validator("host")
    @classmethod
    def _of_ipv4(cls, value: str) -> str:
        if ":" in value:
            raise ValueError(f"it is a name or an IPv4 address, {_EVERYWHERE} to listen to all")
        return value

    @field_validator("backend_url", "browser_url", "label_studio_url", "label_studio_browser_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return address_in(value)

    @field_validator("backend_user", "backend_password", "webhook_secret")
    @classmethod
    def _as_label_studio_sends_it(cls, value: str) -> str:
        if not (value.isascii() and value.isprintable()):
            raise ValueError("Label Studio sends it right only with the letters and signs of ASCII")
        return value

    @field_validator("backend_user")
    @classmethod
    def _without_colon(cls, value: str) -> str:
        if ":" in value:
            raise ValueError("a colon ends the name where it is sent with the password")
        return value

    @field_validator("redis_url")
    @classmethod
    def _of_redis(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("it begins with redis://, rediss:// or unix://")
        if value:
            from redis import Redis  # which most commands do not need

            try:
                Redis.from_url(value)
            except ValueError:  # its message may contain part of the password
                raise ValueError(
                    "its port or an option is none; in a password # is written %23, and / %2F"
                ) from None
        return value

    @field_validator("database_url")
    @classmethod
    def _of_one_file(cls, value: str, info: ValidationInfo) -> str:
        named = _SQLITE.fullmatch(value)
        if named is None or (file := named["file"] or "").startswith("/"):
            return value
        if not file or file.startswith((":memory:", "file:")):
            raise ValueError(
                f"it is one file for all processes: write {named['dialect']}:////data/cytoloop.db"
            )
        here, home = Path.cwd(), info.data.get("home", Path("/HOME"))
        folder = here if (here / file).exists() else home
        raise ValueError(
            "each command would look for it in the folder where it is called, the loop in the "
            f"home: write {named['dialect']}:///{folder / file}"
        )

    @field_validator("milestones", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return milestones_in(value) if isinstance(value, str) else value

    @field_validator("milestones")
    @classmethod
    def _that_can_be_judged(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return require_milestones(value)

    @field_validator("first_version", mode="before")
    @classmethod
    def _of_today(cls, value: object) -> object:
        return STARTER_ID if isinstance(value, str) and is_starter(value) else value

    @field_validator("preset")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in PRESETS:
            raise ValueError(f"there are {', '.join(PRESETS)}")
        return value

    @field_validator("contrast")
    @classmethod
    def _known_or_left_open(cls, value: str) -> str:
        if value and value not in CONTRASTS:
            raise ValueError(f"there are {', '.join(CONTRASTS)}")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return value.expanduser().resolve()
        except RuntimeError as error:
            raise ValueError("nobody of that name has a folder here") from error

    @model_validator(mode="after")
    def _on_the_ports_of_its_home(self) -> Self:
        """Take the ports kept in the home if none are chosen."""
        path = self.home / PORTS_FILE
        try:
            kept = dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
            ports = {name: int(kept[name]) for name in PORTS if name in kept}
        except PermissionError as error:
            raise ValueError(
                f"{self.home} cannot be looked into ({error.strerror}): make it yours (chown or "
                "chmod), or name another home by --home or CYTOLOOP_HOME"
            ) from error
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} cannot be read ({error}): delete it") from error
        for name in ports.keys() - self.model_fields_set:
            setattr(self, name, ports[name])
        return self

    def make_home(self) -> None:
        """Make the home, if missing, for its owner only.

        Otherwise others could read what Label Studio keeps in it, including its token.
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def backend_address(self) -> str:
        return self.backend_url or self.address_here

    @property
    def webhook_address(self) -> str:
        return f"{self.backend_address}/webhook"

    @property
    def address_here(self) -> str:
        """The web server's address on this machine."""
        return self._here(self.port)

    @property
    def browser_address(self) -> str:
        return self.browser_url or self.backend_address

    @property
    def label_studio_address(self) -> str:
        return self.label_studio_url or self._here(self.label_studio_port)

    def _here(self, port: int) -> str:
        """Return the address on this machine of a port on ``host``; for 0.0.0.0 the loopback."""
        host = "127.0.0.1" if self.host == _EVERYWHERE else self.host
        return f"http://{host}:{port}"

    @property
    def database_address(self) -> str:
        if self.database_url:
            return self.database_url
        from sqlalchemy import URL  # which most commands do not need

        url = URL.create("sqlite", database=str(self.database_file))
        return url.render_as_string(hide_password=False)

    @property
    def database_file(self) -> Path:
        """The database file that is used if no other is configured."""
        return self.home / "cytoloop.db"

    @property
    def redis_socket(self) -> Path:
        return self.home / "redis" / "redis.sock"

    @property
    def redis_address(self) -> str:
        return self.redis_url or f"unix://{quote(str(self.redis_socket))}"

    @property
    def images_folder(self) -> Path:
        return self.home / "images"

    @property
    def registry_folder(self) -> Path:
        return self.home / "registry"

    def open_registry(self) -> Registry:
        """Return the home's versions, together with what serves before the first training."""
        from model.keeping.registry import Registry  # which most commands do not need

        return Registry(self.registry_folder, self.first_version)

    @property
    def logs_folder(self) -> Path:
        return self.home / "logs"

    @property
    def runs_folder(self) -> Path:
        return self.home / "runs"

    @property
    def trainings_folder(self) -> Path:
        return self.home / "trainings"

    @property
    def recipe(self) -> tuple[DetectorConfig, TrainConfig]:
        """What is trained, and how."""
        detector, training = PRESETS[self.preset]
        return detector, replace(
            training,
            iterations=self.iterations or training.iterations,
            contrast=CONTRASTS[self.contrast] if self.contrast else training.contrast,
        )


def address_in(text: str) -> str:
    """Return an HTTP address without a final slash; an empty text is returned as it is.

    Raises
    ------
    ValueError
        It is no HTTP address.
    """
    no_address = "it is no address such as http://127.0.0.1:8080"
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where it is none
    except ValueError as error:
        raise ValueError(f"{no_address} ({error})") from error
    if text and not (parts.scheme in ("http", "https") and parts.hostname):
        raise ValueError(f"{no_address}, which begins with http:// or https:// and names a host")
    return text.rstrip("/")


def milestones_in(text: str) -> tuple[int, ...]:
    """Return the milestones in a text such as ``5,10,20``.

    Raises
    ------
    ValueError
        The text contains something else.
    """
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise ValueError("it wants numbers such as 5,10,20") from error


def require_milestones(milestones: Sequence[int]) -> tuple[int, ...]:
    """Return milestones as they are.

    Raises
    ------
    ValueError
        A milestone is not above the one before, or has so few images that none is held out.
    """
    chosen = tuple(milestones)
    if any(number < 1 for number in chosen) or any(a >= b for a, b in pairwise(chosen)):
        raise ValueError(f"milestones must be ascending numbers, not {list(chosen)}")
    if chosen and chosen[0] < FEWEST_OF_FIVE:
        raise ValueError(
            f"of fewer than {FEWEST_OF_FIVE} corrected images none is held out to judge a candidate"
            f" by, so a run at {chosen[0]} would be refused: begin with {FEWEST_OF_FIVE} or more"
        )
    return chosen


#: Our plainer words for pydantic's messages.
_PLAINLY = {
    "Input should be": "it must be",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
}


def _in_words(error: ValidationError) -> str:
    return " ".join(_fault_in_words(**fault) for fault in error.errors())


def _fault_in_words(loc: tuple[int | str, ...], msg: str, input: object, **_: object) -> str:
    said = msg.removeprefix("Value error, ")
    for theirs, ours in _PLAINLY.items():
        said = said.replace(theirs, ours)
    if not loc:  # concerns no single setting
        return f"{said}."
    name = str(loc[0])
    value = "what it is" if name in _SECRETS else repr(input)
    return (
        f"{name} cannot be {value}: {said}. "
        f"Correct {PREFIX}{name.upper()}, or the option of that name."
    )
