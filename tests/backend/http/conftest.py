from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from backend.app import create_app
from backend.http.parts import EXTENSION
from backend.labelstudio.client import SECRET_HEADER
from backend.services import Services


@pytest.fixture
def app(services: Services) -> Iterator[Flask]:
    made = create_app(services)
    yield made
    made.extensions[EXTENSION].slot.close()


@pytest.fixture
def stranger(app: Flask) -> FlaskClient:
    """A client without a password."""
    return app.test_client()


class Knowing(FlaskClient):
    """A client that sends the password and the webhook secret of its installation."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        services = self.application.extensions[EXTENSION].services
        user, secrets = services.settings.backend_user, services.credentials
        kwargs.setdefault("auth", (user, secrets.backend_password))
        kwargs.setdefault("headers", {SECRET_HEADER: secrets.webhook_secret})
        return super().open(*args, **kwargs)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Label Studio, or a person who knows the password."""
    app.test_client_class = Knowing
    return app.test_client()


@pytest.fixture(scope="session")
def field_png() -> bytes:
    """An image of 640 × 480 with two bright discs."""
    y, x = np.mgrid[:480, :640]
    pixels = np.full((480, 640), 30, np.uint8)
    for cx, cy in ((200, 150), (400, 300)):
        pixels[(x - cx) ** 2 + (y - cy) ** 2 < 30**2] = 200
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def label_studio_files(services: Services, field_png: bytes) -> None:
    """Every image of the recorded payloads is the field; the network is away in these tests."""
    services.label_studio.download = lambda path: field_png  # type: ignore[method-assign]
