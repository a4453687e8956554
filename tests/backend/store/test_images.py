from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from backend.errors import NotFound
from backend.settings import Settings
from backend.store.images import Images, StoredImage
from backend.store.projects import Projects
from tests.backend.conftest import LABEL_CONFIG

A, B = (hashlib.sha256(name.encode()).hexdigest() for name in "ab")


@pytest.fixture
def store(engine: Engine, tmp_path: Path) -> Images:
    return Images(engine, tmp_path / "images")


def test_a_raw_file_is_kept_by_its_hash(store: Images, tmp_path: Path) -> None:
    sha256 = store.keep(b"raw pixels")
    assert sha256 == hashlib.sha256(b"raw pixels").hexdigest()
    assert store.path(sha256) == tmp_path / "images" / sha256
    assert store.path(sha256).read_bytes() == b"raw pixels"


@pytest.mark.parametrize("damaged", [b"raw pix", b"", b"raw pixelZ", None])
def test_a_file_that_is_damaged_is_mended_when_it_is_kept_again(
    store: Images, damaged: bytes | None
) -> None:
    path = store.path(store.keep(b"raw pixels"))
    assert store.is_whole(path.name)
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    assert not store.is_whole(path.name)
    assert store.keep(b"raw pixels") == path.name
    assert path.read_bytes() == b"raw pixels"


def test_a_file_kept_twice_lies_there_once_and_nothing_else(store: Images, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        hashes = set(threads.map(store.keep, [b"the same"] * 8))
    assert [p.name for p in (tmp_path / "images").iterdir()] == list(hashes)


@pytest.mark.parametrize("name", ["0" * 64, "../secrets", "", "A" * 64])
def test_what_was_not_kept_has_no_path(store: Images, tmp_path: Path, name: str) -> None:
    store.keep(b"raw pixels")
    for path in (tmp_path / "secrets", tmp_path / "images" / ("A" * 64)):
        path.touch()
    with pytest.raises(NotFound, match="No raw image"):
        store.path(name)


def test_an_image_added_twice_is_one_image(store: Images) -> None:
    first = store.add(1, A, 0, "a.tif", 640, 480)
    assert first == StoredImage(1, A, 0, "a.tif", 640, 480)
    assert store.add(1, A, 0, "another name.tif", 640, 480) == first
    assert store.all(1) == [first]


def test_two_images_of_one_name_are_two_images(store: Images) -> None:
    store.add(1, A, 0, "a.tif", 640, 480)
    store.add(1, B, 0, "a.tif", 640, 480)
    assert [image.sha256 for image in store.all(1)] == [A, B]


def test_a_task_finds_its_image(store: Images) -> None:
    store.add(1, A, 0, "a.tif", 640, 480)
    store.add(1, A, 1, "a.tif", 640, 480)
    attached = store.attach_task(1, A, 1, task=12)
    assert (attached.page, attached.task) == (1, 12)
    assert store.of_task(1, 12) == attached
    assert store.of_task(1, 13) is None
    assert store.get(1, A, 0) == StoredImage(1, A, 0, "a.tif", 640, 480)


def test_an_image_may_stand_in_two_tasks(store: Images) -> None:
    store.add(1, A, 0, "a.tif", 640, 480)
    store.attach_task(1, A, 0, task=12)
    store.attach_task(1, A, 0, task=15)
    assert store.of_task(1, 12) == store.of_task(1, 15)
    assert len(store.all(1)) == 1
    store.add(1, B, 0, "b.tif", 640, 480)
    store.attach_task(1, B, 0, task=13)
    assert store.shown_twice(1) == [(store.of_task(1, 12), [12, 15])]
    assert store.of_tasks(1) == {task: store.of_task(1, task) for task in (12, 13, 15)}
    assert store.of_tasks(2) == {}


def test_an_image_in_two_tasks_counts_once_and_without_any_not_at_all(store: Images) -> None:
    for page, shown in enumerate(([12, 15], [13], [14])):
        store.add(1, A, page, "a.tif", 640, 480)
        for task in shown:
            store.attach_task(1, A, page, task)
    store.forget_tasks(1, [14])
    assert store.number_with_task(1) == 2
    assert store.number_with_task(2) == 0


def test_a_task_is_exchanged_since_it_shows_another_image_than_before(store: Images) -> None:
    for sha256 in (A, B):
        store.add(1, sha256, 0, "a.tif", 640, 480)
    store.attach_task(1, B, 0, task=13)
    began, exchanged = datetime.now(UTC), []
    for sha256 in (A, A, B, B, A):  # the same again, as when its address changed alone
        store.attach_task(1, sha256, 0, task=12)
        exchanged.append(store.exchanged(1).get(12, began))
        store.detach_task(1, 12)
        assert store.exchanged(1) == {}
    assert exchanged == sorted(exchanged)
    assert [exchanged.index(since) for since in exchanged] == [0, 0, 2, 2, 4]
    store.attach_task(1, A, 0, task=12)
    assert store.exchanged(1) == {12: exchanged[-1]}
    store.forget_tasks(1, [12])
    store.attach_task(1, A, 0, task=12)  # another task of its number
    assert store.exchanged(1) == {}


def test_a_task_of_an_unknown_image_is_refused(store: Images) -> None:
    with pytest.raises(NotFound, match="no image"):
        store.attach_task(1, A, 0, task=12)


def test_a_side_is_decided_once_and_for_ever(store: Images) -> None:
    store.add(1, A, 0, "a.tif", 640, 480)
    store.set_sides(1, {(A, 0): "held-out"})
    store.set_sides(1, {(A, 0): "train"})
    assert [image.side for image in store.all(1)] == ["held-out"]


def test_what_is_kept_of_an_images_task_and_side_is_its_projects_own(
    store: Images, engine: Engine, tmp_path: Path
) -> None:
    Projects(engine, Settings(home=tmp_path)).ensure(2, "proj2", LABEL_CONFIG)
    for project in (1, 2):
        store.add(project, A, 0, "a.tif", 640, 480)
        store.attach_task(project, A, 0, task=12)
    store.set_addresses(1, {12: "/a.png"})
    assert [store.addresses(project) for project in (1, 2)] == [{12: "/a.png"}, {12: ""}]
    assert [store.address_of(1, task) for task in (12, 13)] == ["/a.png", ""]
    store.set_sides(1, {(A, 0): "held-out"})
    store.set_fingerprint(A, 0, "f" * 16)
    store.forget_tasks(1, [12])
    (own,), (other,) = store.all(1), store.all(2)
    assert (own.task, own.side, own.fingerprint) == (None, "held-out", "f" * 16)
    assert (other.task, other.side, other.fingerprint) == (12, None, "f" * 16)
    assert [store.known_tasks(project) for project in (1, 2)] == [set(), {12}]


@pytest.mark.parametrize("what", ["noted", "forgotten"])
def test_two_processes_may_go_through_the_same_tasks_in_any_order(
    store: Images, project: int, what: str
) -> None:
    tasks = range(60)
    store.add(project, A, 0, "a.png", 8, 8)
    for task in tasks:
        store.attach_task(project, A, 0, task)

    def go_through(order: Sequence[int]) -> None:
        if what == "noted":
            store.set_addresses(project, {task: f"/data/{task}.png" for task in order})
        else:
            store.forget_tasks(project, order)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(go_through, (tasks, tasks[::-1])))
    assert set(store.addresses(project).values()) == (
        {f"/data/{task}.png" for task in tasks} if what == "noted" else set()
    )
