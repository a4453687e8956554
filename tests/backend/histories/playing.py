"""What the rules of all histories share: the product, the model beside it, and the comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.strategies import DataObject, SearchStrategy

from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from model.boxes import Box
from model.classical.detector import CLASSICAL_ID
from tests.backend.histories.expected import Expected, differences, observed
from tests.backend.histories.installation import Place
from tests.backend.histories.studio import CONFIGS, HEIGHT, WIDTH, Json, Truth

PROJECTS = (1, 2)
TASKS = 6
#: Places of boxes; none is odd to the label guard.
PLACES = tuple((x, y) for x in (2, 22, 42) for y in (2, 24))

places = st.lists(st.sampled_from(PLACES), min_size=1, max_size=2, unique=True)
projects = st.sampled_from(PROJECTS)
#: Which of the present ones is taken; with fewer, it wraps around.
whichever = st.integers(0, 99)
#: How much a process still does before it is killed.
few = st.integers(0, 12)
many = st.integers(0, 70)

draws = st.data()
Draws = DataObject
Model = dict[int, Expected]
T = TypeVar("T")


def among(**weights: int) -> SearchStrategy[str]:
    """Draw a kind by weight: with a rule for each kind most histories would be missed."""
    return st.sampled_from([kind for kind, weight in weights.items() for _ in range(weight)])


def boxes_on(drawn: Sequence[tuple[int, int]], label: str) -> list[Json]:
    interface = LabellingInterface.parse(CONFIGS[0])
    boxes = [Box(x, y, x + 12, y + 14, label) for x, y in drawn]
    return to_regions(boxes, WIDTH, HEIGHT, interface)


class Playing(RuleBasedStateMachine):
    """One history. The model is compared with the store after each step."""

    place: ClassVar[Place]
    kinds: ClassVar[Counter[str]] = Counter()
    ends: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.at = self.place.install()
        self.model: Model = {}
        self.worker_is_up = True
        self.since_quiet = 0
        self.learning: int | None = None
        self.kills: Counter[int] = Counter()
        for id in PROJECTS:
            truth = self.at.studio.create_project(id)
            for image in range(TASKS):
                self.at.studio.import_task(truth, image)
            self.at.services.projects.ensure(id, truth.described["title"], truth.label_config)
            self.model[id] = Expected(truth.label_config, CLASSICAL_ID)

    def teardown(self) -> None:
        self.at.close()

    def played(self, kind: str) -> None:
        self.kinds[kind] += 1
        self.since_quiet += 1

    def truth(self, project: int) -> Truth:
        return self.at.studio.truths[project]

    def foreseen(self) -> Model:
        """Return a model to go on with; the present one stays as it is."""
        return {id: expected.copy() for id, expected in self.model.items()}

    def is_now(self, *allowed: Model) -> None:
        """Compare the store with the model; if a kill allows several states, go on with its own.

        Raises
        ------
        AssertionError
            Something is as in none of them.
        """
        for id in PROJECTS:
            found = observed(self.at.services, id)
            self.is_as(id, found, [model[id] for model in allowed])
            self.model[id] = found

    def is_as(self, project: int, found: Expected, allowed: list[Expected]) -> None:
        wrong = list(differences(found, allowed))
        assert not wrong, f"project {project}: " + "; ".join(wrong)

    def survives(self, what: Callable[[], object], left: int | str | None) -> bool:
        return self.at.life.play(what, left)


def one_of(things: Sequence[T], which: int) -> T | None:
    return things[which % len(things)] if things else None
