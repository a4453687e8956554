from __future__ import annotations

from typing import Any

import pytest

from backend.labelstudio.task_data import TaskData, address_of, listed_address_of


def test_what_an_import_writes_is_what_is_read() -> None:
    data = TaskData("ab" * 32, 2, "s-page3.tif")
    task = {"id": 1, "data": {"image": "/data/s.png", **data.written("http://x/matched.png")}}
    assert TaskData.of(task) == data
    assert address_of(task, "image") == "/data/s.png"
    assert address_of(task, "matched") == "http://x/matched.png"


def test_half_a_character_is_read_as_a_mark() -> None:
    task = {"id": 1, "data": {"name": "a\ud800.tif", "image": "/data/\ud800.png"}}
    assert TaskData.of(task).name == "a?.tif"
    assert address_of(task, "image") == "/data/?.png"


@pytest.mark.parametrize(
    "data", [None, "x", {}, {"sha256": 5, "page": "z07", "name": None, "image": ["a"]}]
)
def test_what_says_nothing_of_an_image_is_read_as_nothing(data: Any) -> None:
    task = {"id": 1, "data": data}
    assert TaskData.of(task) == TaskData("", 0, "")
    assert address_of(task, "image") == ""


@pytest.mark.parametrize(
    ("address", "listed"),
    [
        ("/data/upload/1/a.png", "/data/upload/1/a.png"),
        ("http://lab/a.png", "http://lab/a.png"),
        ("https://lab/a.png", "https://lab/a.png"),
        ("http://studio:8080/tasks/7/resolve/?fileuri=ab", "/tasks/7/resolve/?fileuri=ab"),
        ("s3://bucket/a.png", ""),
    ],
)
def test_an_image_in_a_storage_is_told_apart_by_what_every_server_name_shares(
    address: str, listed: str
) -> None:
    assert listed_address_of({"data": {"image": address}}, "image") == listed
