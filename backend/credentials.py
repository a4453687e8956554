"""The passwords and tokens of an installation, made once and kept with mode 0600 in the home."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from backend.errors import BadSetting
from backend.settings import Settings
from model.atomic import locked, new_file

FILE_NAME = "credentials.json"
#: Label Studio keeps these as they were made.
_OF_LABEL_STUDIO = {"password", "label_studio_token"}


@dataclass(frozen=True)
class Credentials:
    """What a person, Label Studio and Cytoloop prove themselves to each other with.

    Parameters
    ----------
    email, password
        The login to Label Studio that `cytoloop up` makes.
    label_studio_token
        Its API token: a legacy token, or a personal access token of an attached Label Studio.
    label_studio_url
        Address of an attached Label Studio (`cytoloop connect`); empty for our own.
    backend_password
        Basic auth for Label Studio at Cytoloop, and for a person at its dashboard and exports.
    webhook_secret
        Value of the header ``X-Cytoloop-Secret`` of each webhook.
    """

    email: str = "lab@cytoloop.local"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    label_studio_token: str = field(default_factory=lambda: secrets.token_hex(20))
    label_studio_url: str = ""
    backend_password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    webhook_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @classmethod
    def load(cls, settings: Settings) -> Credentials | None:
        """Return the same as :meth:`load_or_create`, or None if none were made; write nothing.

        Raises
        ------
        BadSetting
            The file exists but cannot be read.
        """
        told = _read(settings.home / FILE_NAME)
        return cls(**told)._but_for(settings) if told else None

    @classmethod
    def load_or_create(cls, settings: Settings) -> Credentials:
        """Return the kept credentials; values in the settings take precedence.

        Raises
        ------
        BadSetting
            The file exists but cannot be read.
        """
        told = _read(settings.home / FILE_NAME)
        kept = cls(**told)
        if asdict(kept).keys() - told.keys():
            kept = cls._completed(settings.home)
        return kept._but_for(settings)

    @classmethod
    def _completed(cls, home: Path) -> Credentials:
        """Make what is missing and save it for all who read it from now on."""
        path = home / FILE_NAME
        with locked(path.with_suffix(".lock")):
            kept = cls(**_read(path))  # again: another process may have made it meanwhile
            kept.save(home)
        return kept

    def _but_for(self, settings: Settings) -> Credentials:
        """Return these credentials; values in the settings take precedence."""
        chosen = {
            "label_studio_token": settings.label_studio_token,
            "label_studio_url": settings.label_studio_url,
            "backend_password": settings.backend_password,
            "webhook_secret": settings.webhook_secret,
        }
        return replace(self, **{name: value for name, value in chosen.items() if value})

    @property
    def home_id(self) -> str:
        """Tells this home from others on its Redis, wherever it lies and whoever mounts it."""
        # Made of the only secret that each home has from the start and that no setting replaces.
        return hashlib.sha256(self.password.encode()).hexdigest()[:8]

    def save(self, home: Path) -> None:
        """Write the file whole or not at all, readable only by its owner."""
        with new_file(home / FILE_NAME) as partial:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                json.dump(asdict(self), out, indent=1)


def _read(path: Path) -> dict[str, str]:
    """Return what is kept; only values that Label Studio keeps too are required.

    Empty if there is no file.
    """
    if not path.exists():
        return {}
    try:
        told = dict(**json.loads(path.read_text("utf-8")))
        if missing := _OF_LABEL_STUDIO - told.keys():
            raise ValueError(f"{', '.join(sorted(missing))} missing")
        Credentials(**told)
    except (ValueError, TypeError) as error:
        raise BadSetting(
            f"{path} cannot be read ({error}): mend it, or put it back from a copy. A new one "
            "would not do: Label Studio keeps the token that it was made with."
        ) from error
    return told
