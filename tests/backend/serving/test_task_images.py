from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from backend.errors import BadRequest, LabelStudioError
from backend.services import Services
from backend.serving.task_images import read_task_image, stored_task_image
from preprocessing.errors import UnreadableImage


def png(value: int = 7, width: int = 12, height: int = 8) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((height, width), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def downloads(services: Services) -> dict[str, Any]:
    """What Label Studio has, by address; the network itself is away in these tests."""
    files: dict[str, Any] = {"asked": []}

    def download(path: str) -> bytes:
        files["asked"].append(path)
        if path not in files:
            raise LabelStudioError("it is away")
        return bytes(files[path])

    services.label_studio.download = download  # type: ignore[method-assign]
    return files


def test_an_imported_task_is_read_from_its_raw_file(
    services: Services, project: int, downloads: dict[str, Any]
) -> None:
    raw = services.images.keep(png(200))
    task = {"id": 4, "data": {"image": "/data/upload/1/display.png", "sha256": raw, "page": 0}}

    record = read_task_image(services, project, task, "image")

    assert record.sha256 == raw
    assert (record.pixels == 200).all()
    assert downloads["asked"] == []
    assert services.images.of_task(project, 4) is not None


def test_the_image_of_any_other_task_is_fetched_once_and_kept(
    services: Services, project: int, downloads: dict[str, Any]
) -> None:
    address = "/data/upload/1/c24f8b3f-my_cells.png"
    downloads[address] = png()
    task = {"id": 5, "data": {"image": address}}

    for _ in range(2):
        stored = stored_task_image(services, project, task, "image")

    assert downloads["asked"] == [address]
    assert (stored.name, stored.width, stored.height) == ("my_cells.png", 12, 8)
    assert services.images.path(stored.sha256).read_bytes() == png()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=plate%201/well-A1.png", "well-A1.png"),
        ("/data/upload/1/12345678-a.png", "a.png"),
        ("/files/c24f8b3f-kept.png", "c24f8b3f-kept.png"),
    ],
)
def test_an_image_is_called_what_the_user_calls_it(
    services: Services, project: int, downloads: dict[str, Any], address: str, name: str
) -> None:
    downloads[address] = png()

    stored = stored_task_image(services, project, {"id": 6, "data": {"image": address}}, "image")

    assert stored.name == name


@pytest.mark.parametrize("data", [{"image": "http://[x/y.png"}, {"image": "/\ud800"}, {"image": 5}])
def test_a_kept_image_without_a_name_that_can_be_read_is_called_by_its_hash_or_what_is_left(
    services: Services, project: int, data: dict[str, Any]
) -> None:
    raw = services.images.keep(png())

    stored = stored_task_image(
        services, project, {"id": 4, "data": data | {"sha256": raw}}, "image"
    )

    assert stored.name in (raw[:12], "?")


def test_a_sha256_that_is_not_kept_here_falls_back_to_what_label_studio_shows(
    services: Services, project: int, downloads: dict[str, Any]
) -> None:
    downloads["/data/a.png"] = png()
    for id, foreign in enumerate(["ab" * 32, "../../etc/passwd", 5, ""]):
        task = {"id": 7 + id, "data": {"image": "/data/a.png", "sha256": foreign}}

        assert read_task_image(services, project, task, "image").width == 12


def test_a_task_whose_number_was_given_again_shows_its_own_image(
    services: Services, project: int, downloads: dict[str, Any]
) -> None:
    former, own = services.images.keep(png(1)), services.images.keep(png(2))
    for raw in (former, own):
        task = {"id": 4, "data": {"image": "/data/a.png", "sha256": raw}}
        assert read_task_image(services, project, task, "image").sha256 == raw


def test_a_task_whose_number_was_given_to_another_page_shows_that(
    services: Services, project: int, downloads: dict[str, Any]
) -> None:
    with io.BytesIO() as file:
        tifffile.imwrite(file, np.stack([np.full((8, 9), level, np.uint8) for level in (1, 2)]))
        raw = services.images.keep(file.getvalue())
    for page in (0, 1):
        task = {"id": 4, "data": {"image": "/data/a.png", "sha256": raw, "page": page}}
        assert read_task_image(services, project, task, "image").pixels[0, 0] == page + 1


@pytest.mark.parametrize("page", [1, "z07", None])
def test_a_column_called_page_of_the_labs_own_is_no_page_of_what_label_studio_shows(
    services: Services, project: int, downloads: dict[str, Any], page: Any
) -> None:
    downloads["/data/a.png"] = png()
    task = {"id": 7, "data": {"image": "/data/a.png", "page": page}}

    assert stored_task_image(services, project, task, "image").page == 0


def test_what_is_no_image_is_refused_and_not_attached(
    services: Services, project: int, downloads: dict[str, Any]
) -> None:
    downloads |= {"/data/empty.png": b"", "/data/page.png": b"<html>"}

    for address in ("/data/empty.png", "/data/page.png"):
        with pytest.raises(UnreadableImage):
            stored_task_image(services, project, {"id": 8, "data": {"image": address}}, "image")

    assert services.images.of_task(project, 8) is None


@pytest.mark.parametrize(
    "data", [None, {}, [], "x", {"image": ""}, {"image": None}, {"photo": "/a.png"}]
)
def test_a_task_without_an_image_says_which_key_was_looked_for(
    services: Services, project: int, downloads: dict[str, Any], data: Any
) -> None:
    with pytest.raises(BadRequest, match=r"data\.image"):
        stored_task_image(services, project, {"id": 9, "data": data}, "image")
