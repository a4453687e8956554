"""Puts the parts of one installation together; nothing else does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from backend.credentials import Credentials
from backend.labelstudio.client import LabelStudio
from backend.settings import Settings
from backend.store.annotations import Annotations
from backend.store.annotators import Annotators
from backend.store.corrections import Corrections
from backend.store.database import open_database, open_to_read
from backend.store.images import Images
from backend.store.predictions import Predictions
from backend.store.projects import Projects
from backend.store.runs import Runs
from model.errors import BrokenVersion
from model.keeping.registry import Registry

if TYPE_CHECKING:
    from backend.queue import JobQueue


@dataclass(frozen=True)
class Services:
    """The parts of one installation, each made on first use."""

    settings: Settings
    credentials: Credentials
    engine: Engine

    @cached_property
    def projects(self) -> Projects:
        return Projects(self.engine, self.settings)

    @cached_property
    def images(self) -> Images:
        return Images(self.engine, self.settings.images_folder)

    @cached_property
    def annotations(self) -> Annotations:
        return Annotations(self.engine)

    @cached_property
    def annotators(self) -> Annotators:
        return Annotators(self.engine)

    @cached_property
    def predictions(self) -> Predictions:
        return Predictions(self.engine)

    @cached_property
    def corrections(self) -> Corrections:
        return Corrections(self.engine)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.engine)

    @cached_property
    def registry(self) -> Registry:
        return self.settings.open_registry()

    @cached_property
    def queue(self) -> JobQueue:
        from backend.queue import JobQueue  # imports RQ, which a replay in process does not need

        home_id, settings = self.credentials.home_id, self.settings
        return JobQueue(settings.redis_address, settings.job_timeout_s, home_id)

    @cached_property
    def label_studio(self) -> LabelStudio:
        address = self.credentials.label_studio_url or self.settings.label_studio_address
        token = self.credentials.label_studio_token
        return LabelStudio(address, token, self.settings.label_studio_browser_url)

    def champion_now(self, project: int) -> str:
        """Return the champion's id, even if its version cannot be read; empty if not known."""
        with suppress(BrokenVersion):
            return self.registry.champion_id(str(project))
        return ""

    @property
    def label_studio_for_browsers(self) -> str:
        """Label Studio's address for the browsers of annotators."""
        return self.settings.label_studio_browser_url or self.label_studio.url


def build_services(settings: Settings | None = None, *, to_read: bool = False) -> Services:
    """Put the parts together; make the home and bring the database up to date.

    Parameters
    ----------
    to_read
        The database will only be read: it is opened even on a full disk.
    """
    settings = settings or Settings()
    settings.make_home()
    credentials = Credentials.load_or_create(settings)
    opened = open_to_read if to_read else open_database
    return Services(settings, credentials, opened(settings.database_address))
