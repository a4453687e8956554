"""What the doctor reports: one line for each thing looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import requests

from backend.credentials import Credentials
from backend.labelstudio.client import LabelStudio
from backend.running.http import TIMEOUT_S, answers
from backend.running.lock import Holder, holder
from backend.running.ours import web_address
from backend.settings import Settings

Level = Literal["ok", "warn", "fail"]

START = "Start the loop: cytoloop up (or make run)."
REPORT = "If the rest is well, this is a fault of Cytoloop: report it."


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    level
        ``warn``: the loop runs, but could run better; ``fail``: it does not run.
    says
        What was found.
    mend
        What to do about it; empty if all is well.
    """

    about: str
    level: Level
    says: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        return vars(self)


def ok(about: str, says: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(about, "ok", says)


def warn(about: str, says: str, mend: str) -> Finding:
    """Say that something could be better."""
    return Finding(about, "warn", says, mend)


def fail(about: str, says: str, mend: str) -> Finding:
    """Say that something does not work."""
    return Finding(about, "fail", says, mend)


@dataclass(frozen=True)
class Installation:
    """An installation, looked at without changing it."""

    settings: Settings

    @cached_property
    def credentials(self) -> Credentials | None:
        """The passwords and tokens; None if none were made yet."""
        return Credentials.load(self.settings)

    @property
    def attached(self) -> str:
        """Address of an attached Label Studio, which we do not start; empty for our own."""
        kept = self.credentials.label_studio_url if self.credentials else ""
        return kept or self.settings.label_studio_url

    @cached_property
    def label_studio(self) -> LabelStudio:
        token = self.credentials.label_studio_token if self.credentials else ""
        return LabelStudio(
            self.attached or self.settings.label_studio_address,
            token or self.settings.label_studio_token,
        )

    @cached_property
    def holder(self) -> Holder | None:
        """The `cytoloop up` that runs on this home."""
        return holder(self.settings.home)

    @cached_property
    def web_answers(self) -> bool:
        return answers(f"{web_address(self.settings)}/health")

    def metrics(self) -> requests.Response:
        """Ask the web process for its metrics, with the password of this home.

        Raises
        ------
        requests.RequestException
            The web process cannot be reached.
        """
        kept, settings = self.credentials, self.settings
        password = kept.backend_password if kept else settings.backend_password
        auth = settings.backend_user, password
        return requests.get(f"{web_address(settings)}/metrics", auth=auth, timeout=TIMEOUT_S)


#: Looks at one part of an installation.
Check = Callable[[Installation], Iterator[Finding]]
