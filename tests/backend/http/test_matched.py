from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from backend.http.parts import EXTENSION
from backend.labelstudio.interface import LabellingInterface
from backend.services import Services
from backend.signing import key_of, matched_path
from model.generated.fields import EASY, generate_field
from preprocessing.fitting import fit_images
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord, read_image
from preprocessing.prepare import prepare

TWO_IMAGES = """
<View style="display: flex">
  <View><Image name="image" value="$image"/></View>
  <View><Image name="matched" value="$matched"/></View>
  <RectangleLabels name="label" toName="image"><Label value="Cell"/></RectangleLabels>
</View>"""


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.fixture
def sha256(services: Services, project: int) -> str:
    """A kept file of two 16-bit pages."""
    fields = [generate_field(seed, (96, 128), 8, EASY).pixels for seed in (1, 2)]
    out = io.BytesIO()
    tifffile.imwrite(out, np.stack(fields).astype(np.uint16) * 100, photometric="minisblack")
    kept = services.images.keep(out.getvalue())
    for page in (0, 1):
        services.images.add(project, kept, page, "field.tif", 128, 96)
    return kept


@pytest.fixture
def raw(services: Services, sha256: str) -> Path:
    return services.images.path(sha256)


def address(services: Services, project: int, sha256: str, page: int = 0) -> str:
    return matched_path(services.credentials.webhook_secret, project, sha256, page)


@pytest.mark.parametrize("page", [0, 1])
def test_a_browser_with_the_address_sees_what_the_detector_sees(
    stranger: FlaskClient, services: Services, project: int, sha256: str, raw: Path, page: int
) -> None:
    answer = stranger.get(address(services, project, sha256, page))

    assert answer.status_code == 200
    assert answer.content_type == "image/png"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    seen = prepare(read_image(raw, page=page), ContrastGroups.none()).pixels
    assert np.abs(pixels_of(answer.data) / 255 - seen).max() <= 0.5 / 255 + 1e-6


def test_the_password_opens_it_too(client: FlaskClient, project: int, sha256: str) -> None:
    assert client.get(f"/images/{project}/{sha256}/matched.png").status_code == 200


def test_no_key_a_guessed_one_and_that_of_another_image_open_nothing(
    stranger: FlaskClient, services: Services, project: int, sha256: str
) -> None:
    path = f"/images/{project}/{sha256}/matched.png"
    secret = services.credentials.webhook_secret
    keys = [
        "",
        "guess",
        "ä",
        key_of(secret, project, sha256, 1),
        key_of(secret, project + 1, sha256, 0),
        key_of(secret, project, "0" * 64, 0),
        key_of("", project, sha256, 0),
    ]
    for key in keys:
        answer = stranger.get(path, query_string={"page": 0, "key": key})
        assert answer.status_code == 401, key
        assert secret not in answer.text


def test_an_image_of_another_project_and_a_page_that_is_not_there_are_not_found(
    client: FlaskClient, services: Services, project: int, sha256: str
) -> None:
    services.projects.ensure(2, "another", TWO_IMAGES)
    for path in (
        f"/images/2/{sha256}/matched.png",
        f"/images/{project}/{sha256}/matched.png?page=7",
        f"/images/{project}/{'0' * 64}/matched.png",
        f"/images/{project}/..%2f..%2fcredentials.json/matched.png",
    ):
        assert client.get(path).status_code == 404, path


def test_an_unchanged_image_is_not_sent_again_and_a_new_champion_is_seen(
    app: Flask, stranger: FlaskClient, services: Services, project: int, sha256: str, raw: Path
) -> None:
    path = address(services, project, sha256)
    first = stranger.get(path)
    again = stranger.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")

    fields = [generate_field(seed, (96, 128), 8, EASY).pixels for seed in range(4)]
    groups = fit_images([ImageRecord(pixels, "") for pixels in fields], "single")
    served = Served(groups)
    app.extensions[EXTENSION].slot.current = lambda wanted: served  # no weights are needed here

    changed = stranger.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    seen = prepare(read_image(raw), groups).pixels
    assert np.abs(pixels_of(changed.data) / 255 - seen).max() <= 0.5 / 255 + 1e-6


class Served:
    """A loaded version of which only the contrast groups matter."""

    def __init__(self, groups: ContrastGroups) -> None:
        self.loaded = self
        self.groups = groups


def test_boxes_are_drawn_on_the_raw_image_when_a_matched_one_lies_beside_it() -> None:
    interface = LabellingInterface.parse(TWO_IMAGES)
    assert (interface.to_name, interface.data_key) == ("image", "image")
