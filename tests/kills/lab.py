"""A project under way: what an annotator did, and what must have become of it in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.store.runs import Run
from model.classical.detector import CLASSICAL_ID
from model.generated.fields import Field, FieldStyle, generate_field
from preprocessing.images import encode_png
from tests.backend.conftest import LABEL_CONFIG
from tests.kills.installation import Installation, until
from tests.kills.label_studio import PROJECT, StandIn

#: What the starter finds better than the classical detector after a few steps of training.
RIMS = FieldStyle(
    "rims", 0.2, background=0.4, ring=1.0, smudges=3.0, fibres=1.0, radius=12.0, touching=0.0
)


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Parameters
    ----------
    side_px, cells
        Of each image.
    corrected, open
        Tasks that are corrected before a run, and by nobody.
    iterations, checkpoint_every
        Steps of a training, 0: from the number of images; and between two checkpoints.
    runs, moments_s
        Runs one after another that are killed at moments of chance, and seconds between these at
        the most.
    patience_s
        How long a run may take, and the push after it.
    """

    side_px: int
    cells: int
    corrected: int
    open: int
    iterations: int
    checkpoint_every: int
    runs: int
    moments_s: float
    patience_s: float


SMALL = Scale(
    side_px=96,
    cells=4,
    corrected=5,
    open=5,
    iterations=4,
    checkpoint_every=2,
    runs=1,
    moments_s=3.0,
    patience_s=300.0,
)
FULL = Scale(
    side_px=1024,
    cells=120,
    corrected=20,
    open=60,
    iterations=0,
    checkpoint_every=50,
    runs=20,
    moments_s=120.0,
    patience_s=3600.0,
)


class Lab:
    """An installation, the Label Studio it works for, and an annotator."""

    def __init__(self, installation: Installation, studio: StandIn, scale: Scale) -> None:
        self.installation = installation
        self.studio = studio
        self.scale = scale
        self._truth: dict[int, Field] = {}
        self._interface = LabellingInterface.parse(LABEL_CONFIG)

    @classmethod
    @contextmanager
    def opened(cls, home: Path, port: int, scale: Scale) -> Iterator[Lab]:
        studio = StandIn(LABEL_CONFIG)
        chosen = {
            "iterations": scale.iterations,
            "milestones": str(scale.corrected),
            "milestone_step": scale.corrected,
            "device": "cpu",
            "poll_s": 0.3,
        }
        with studio.served() as address:
            installation = Installation(home, port, address, scale.checkpoint_every, **chosen)
            lab = cls(installation, studio, scale)
            try:
                lab.open()
                yield lab
            finally:
                lab.installation.down()

    def open(self) -> None:
        """Make the project, with the classical version as its champion, and start everything."""
        services = self.installation.services
        services.projects.ensure(PROJECT, self.studio.project["title"], LABEL_CONFIG)
        services.registry.promote(str(PROJECT), CLASSICAL_ID)
        services.projects.set_pushed(PROJECT, services.registry.served_name(str(PROJECT)))
        for _ in range(self.scale.open):
            self.add_task()
        self.installation.up()

    def add_task(self) -> int:
        side = self.scale.side_px
        field = generate_field(len(self._truth), (side, side), self.scale.cells, RIMS, label="Cell")
        task = self.studio.add_task(encode_png(field.pixels))
        self._truth[task] = field
        return task

    def correct(self) -> None:
        """Open another image, draw its cells, and submit; the event may be lost."""
        task, side = self.add_task(), self.scale.side_px
        boxes = [replace(box, score=None) for box in self._truth[task].boxes]
        self.installation.tell(
            self.studio.annotate(task, to_regions(boxes, side, side, self._interface))
        )

    @property
    def champion(self) -> str:
        return self.installation.services.registry.champion(str(PROJECT)).id

    def served(self) -> str:
        """Return the version that answers for an open task; empty while a first one is loaded."""
        name = self.installation.predict(next(iter(self.studio.tasks.values())))
        return name.partition("+")[0]

    def wait_until(self, reached: Callable[[], bool], what: str) -> None:
        until(reached, what, self.installation, self.scale.patience_s)

    def settle(self, runs: int = 1) -> list[Run]:
        """Wait until so many runs have ended and the open tasks have the champion's boxes."""
        services = self.installation.services

        def settled() -> bool:
            self.installation.up()
            return (
                len(services.runs.all(PROJECT)) == runs
                and not services.runs.unfinished()
                and services.projects.get(PROJECT).pushed
                == services.registry.served_name(str(PROJECT))
                and services.annotations.corrected_count(PROJECT) == len(self.studio.annotated())
            )

        self.wait_until(settled, f"{runs} runs end, and what they promoted is pushed")
        return services.runs.all(PROJECT)[::-1]
