from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from backend.datasets.folder import LabelledFolder, labelled_folder
from backend.effort.report import effort_of
from backend.errors import BadRequest
from backend.learning import pipeline
from backend.replay.correcting import Carelessness
from backend.replay.floor import cross_validated
from backend.replay.ledger import Ledger, Row
from backend.replay.paper import lay_out, paper_loop, play_on_paper, start_from
from backend.replay.playing import LabelledSet, Play, in_drawn_order
from backend.settings import Settings
from model.classical.detector import CLASSICAL_ID
from model.config import PRESETS
from model.errors import VersionNotFound
from model.generated.fields import HARD, generate_field
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from preprocessing.groups import ContrastGroups
from tests.labelled import write_labelled

SIZE = 96
FIELDS = 6
#: Serves without torch.
CLASSICAL = {"first_version": CLASSICAL_ID}
CAREFULLY = Play()


def labelled(home: Path, fields: int, size: int, cells: int) -> LabelledFolder:
    made = (generate_field(seed, (size, size), cells, HARD) for seed in range(fields))
    return labelled_folder(*write_labelled(home, made))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> LabelledFolder:
    return labelled(tmp_path_factory.mktemp("labelled"), FIELDS, SIZE, cells=4)


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """A home of its own, where a run takes seconds."""
    home = tmp_path / "home"
    return Settings(home=home, milestones=(4,), iterations=2, preset="fast", device="cpu")


def in_order(folder: LabelledFolder) -> LabelledSet:
    return LabelledSet(in_drawn_order(folder.images), folder.classes)


def played(
    own: Settings, folder: LabelledFolder, ledger: Ledger, how: Play = CAREFULLY
) -> Iterator[Row]:
    return play_on_paper(own, in_order(folder), ledger, how)


@pytest.mark.integration
def test_a_replay_that_was_interrupted_goes_on_and_its_telemetry_tells_the_same(
    own: Settings, folder: LabelledFolder, tmp_path: Path
) -> None:
    path = tmp_path / "effort.csv"
    first = list(islice(played(own, folder, Ledger(path)), 2))
    rest = list(played(own, folder, Ledger(path)))
    rows = Ledger(path).rows
    assert rows == first + rest
    assert [row.number for row in rows] == list(range(1, FIELDS + 1))
    assert [row.image for row in rows] == [i.name for i in in_drawn_order(folder.images)]
    assert list(played(own, folder, Ledger(path))) == []

    with paper_loop(own) as services:
        (run,) = services.runs.all()
        assert (run.milestone, run.state) == (4, "refused")
        total = effort_of(services, 1).work.total
    assert total.actions == sum((row.actions for row in rows[1:]), rows[0].actions)
    assert total.cells == sum(row.cells for row in rows)
    assert [s for s, _ in total.timed] == [row.seconds for row in rows]


def killed(*args: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.integration
def test_a_run_is_served_after_the_lag_however_often_its_replay_was_killed(
    own: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Cells enough that a run chooses which boxes are shown, of whatever version serves after it.
    folder = labelled(tmp_path, fields=9, size=128, cells=11)
    own = own.model_copy(update={"milestones": (5,)})
    path, how = tmp_path / "effort.csv", Play(lag=2)
    with monkeypatch.context() as at_its_run:
        at_its_run.setattr(pipeline, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            list(played(own, folder, Ledger(path), how))
    list(islice(played(own, folder, Ledger(path), how), 1))
    list(played(own, folder, Ledger(path), how))
    served = [row.served for row in Ledger(path).rows]
    assert [name == served[0] for name in served] == [True] * 7 + [False] * 2


@pytest.mark.integration
def test_the_floor_judges_each_image_by_a_version_that_has_not_seen_it(
    own: Settings, folder: LabelledFolder, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "floor.csv")
    start = STARTER_ID, Registry(own.registry_folder)
    args = (own, in_order(folder), ledger, Play(folds=2, start=start))
    rows = list(cross_validated(*args))
    assert {row.sha256 for row in rows} == {image.sha256 for image in folder.images}
    versions = Registry(own.registry_folder)
    for row in rows:
        served = versions.get(row.served.partition("+")[0])
        assert served.parent == STARTER_ID
        assert row.sha256 not in served.lineage
    assert list(cross_validated(*args)) == []


@pytest.mark.integration
def test_a_folder_that_has_gained_images_is_played_on(
    own: Settings, folder: LabelledFolder, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "effort.csv")
    images = in_drawn_order(folder.images)
    own = own.model_copy(update={"milestones": (90,)})
    list(play_on_paper(own, LabelledSet(images[2:4], folder.classes), ledger, CAREFULLY))
    list(played(own, folder, ledger))
    assert [row.number for row in ledger.rows] == list(range(1, FIELDS + 1))
    order = [*images[2:4], *images[:2], *images[4:]]
    assert [row.sha256 for row in ledger.rows] == [image.sha256 for image in order]
    with paper_loop(own) as services:
        by_task = sorted((image.task or 0, image.sha256) for image in services.images.all(1))
        assert by_task == list(enumerate((image.sha256 for image in order), start=1))


def test_a_replay_keeps_to_its_own_store_and_watches_no_task(
    own: Settings, folder: LabelledFolder, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    more = {"database_url": f"sqlite:///{elsewhere}", "watch_share": 1.0} | CLASSICAL
    list(islice(played(own.model_copy(update=more), folder, Ledger(tmp_path / "effort.csv")), 2))
    assert not elsewhere.exists()
    with paper_loop(own) as services:
        assert len(services.annotations.corrected(1)) == 2
        assert not services.predictions.watched_tasks(1)


def test_a_replay_is_played_as_carelessly_as_it_was_asked_for(
    own: Settings, folder: LabelledFolder, tmp_path: Path
) -> None:
    own, how = own.model_copy(update=CLASSICAL), Play(Carelessness(1.0, 1.0))
    row = next(played(own, folder, Ledger(tmp_path / "effort.csv"), how))
    assert row.missed + row.accepted > 0
    assert row.actions.added == row.actions.deleted == 0


def test_images_that_somebody_else_corrected_are_not_taken_for_played(
    own: Settings, folder: LabelledFolder, tmp_path: Path
) -> None:
    own = own.model_copy(update=CLASSICAL)
    list(islice(played(own, folder, Ledger(tmp_path / "effort.csv")), 2))
    with pytest.raises(BadRequest, match="its row is missing"):
        list(played(own, folder, Ledger(tmp_path / "other.csv")))


def test_a_replay_begins_with_a_version_of_another_registry(
    own: Settings, folder: LabelledFolder, tmp_path: Path
) -> None:
    elsewhere = Registry(tmp_path / "elsewhere")
    starter = replace(elsewhere.get(CLASSICAL_ID), id="starter-x", kind="starter")
    starter = replace(starter, detector=PRESETS["default"][0])
    (tmp_path / "weights").write_bytes(b"w")

    elsewhere.add(starter, ContrastGroups.none(), tmp_path / "weights")
    with paper_loop(own) as services:
        one = LabelledSet(folder.images[:1], folder.classes)
        project = lay_out(services, one, "Replay")
        with pytest.raises(VersionNotFound):
            start_from(services, project, "starter-y", elsewhere)
        for _ in range(2):
            start_from(services, project, "starter-x", elsewhere)
        assert services.registry.champion("1").id == "starter-x"
        assert len(services.registry.history("1")) == 1
