"""The rules of Label Studio: what annotators do, and what becomes of the events."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.backend.histories.playing import (
    PLACES,
    Draws,
    Model,
    Playing,
    among,
    boxes_on,
    draws,
    few,
    one_of,
    places,
    projects,
    whichever,
)
from tests.backend.histories.studio import BAD_CONFIG, CONFIGS, IMAGES, Json, Truth

labels = st.sampled_from(("Cell", "Debris", "Dust"))


class Labelling(Playing):
    """Annotators at work, and events that come late, twice, in any order or never."""

    @rule(draw=draws, what=among(submit=4, skip=1, update=2, delete_annotation=1, take_back=2))
    def annotators(self, draw: Draws, what: str) -> None:
        getattr(self, what)(draw)

    def submit(self, draw: Draws) -> None:
        project, first = draw.draw(projects), draw.draw(whichever)
        for task in range(first, first + draw.draw(st.integers(1, 3))):
            drawn = boxes_on(draw.draw(places), draw.draw(labels))
            self.annotate(project, task, drawn, skipped=False)

    def skip(self, draw: Draws) -> None:
        self.annotate(draw.draw(projects), draw.draw(whichever), [], skipped=True)

    def annotate(self, project: int, task: int, result: list[Json], skipped: bool) -> None:
        truth = self.truth(project)
        if not truth.gone and (id := one_of(list(truth.tasks), task)) is not None:
            self.at.studio.annotate(truth, id, result, skipped)
            self.played("skipped" if skipped else "submitted")

    def update(self, draw: Draws) -> None:
        truth, annotation = self._annotation(draw)
        if annotation:
            was, skipped = annotation["was_cancelled"], draw.draw(st.booleans())
            self.at.studio.update(truth, annotation, boxes_on(draw.draw(places), "Cell"), skipped)
            self.played("updated" if was == skipped else "skipped or submitted after all")

    def delete_annotation(self, draw: Draws) -> None:
        truth, annotation = self._annotation(draw)
        if annotation:
            self.at.studio.delete(truth, annotation)
            self.played("annotation deleted")

    def take_back(self, draw: Draws) -> None:
        """Submit and delete at once: the store may see nothing of it but a late event."""
        truth = self.truth(draw.draw(projects))
        self.annotate(truth.id, draw.draw(whichever), boxes_on(PLACES[:1], "Cell"), skipped=False)
        if not truth.gone and truth.tasks:
            newest = max(truth.annotations(), key=lambda annotation: int(annotation["id"]))
            self.at.studio.delete(truth, newest)
            self.played("taken back")

    def _annotation(self, draw: Draws) -> tuple[Truth, Json | None]:
        truth = self.truth(draw.draw(projects))
        return truth, None if truth.gone else one_of(truth.annotations(), draw.draw(whichever))

    # Whoever keeps the projects

    @rule(draw=draws, what=among(delete_task=2, import_tasks=2, delete_project=1, change_config=2))
    def keepers(self, draw: Draws, what: str) -> None:
        if gone := [truth for truth in self.at.studio.truths.values() if truth.gone]:
            gone[0].gone = False
            self.played("project back")
        else:
            getattr(self, what)(draw, self.truth(draw.draw(projects)))

    def delete_task(self, draw: Draws, truth: Truth) -> None:
        if (id := one_of(list(truth.tasks), draw.draw(whichever))) is not None:
            del truth.tasks[id]
            self.played("task deleted")

    def import_tasks(self, draw: Draws, truth: Truth) -> None:
        for image in draw.draw(st.lists(st.integers(0, IMAGES - 1), min_size=1, max_size=4)):
            self.at.studio.import_task(truth, image)
        self.played("tasks imported")

    def delete_project(self, _draw: Draws, truth: Truth) -> None:
        truth.gone = True
        self.played("project deleted")

    def change_config(self, draw: Draws, truth: Truth) -> None:
        config = draw.draw(st.sampled_from([c for c in CONFIGS if c != truth.label_config]))
        self.at.studio.change_config(truth, config)
        self.played("config without boxes" if config == BAD_CONFIG else "config changed")

    # Events

    @precondition(lambda self: self.at.studio.on_the_way)
    @rule(draw=draws, fate=among(in_order=3, out_of_order=2, doubled=2, lost=2, deadly=2))
    def event(self, draw: Draws, fate: str) -> None:
        on_the_way = self.at.studio.on_the_way
        which = 0 if fate == "in_order" else draw.draw(whichever) % len(on_the_way)
        if fate == "doubled":
            self.arrives(on_the_way[which])
        elif fate == "lost":
            on_the_way.pop(which)
        elif fate == "deadly":
            self.arrives(on_the_way.pop(which), left=draw.draw(few))
            self.at.restart_web()
        else:
            self.arrives(on_the_way.pop(which))
        self.played(f"event {fate}")

    def arrives(self, event: dict[str, Any], left: int | None = None) -> None:
        steps = self._foresee(event)
        lived = self.survives(lambda: self.at.tell(event), left)
        self.is_now(*(steps[-1:] if lived else [self.model, *steps]))

    def _foresee(self, event: dict[str, Any]) -> list[Model]:
        """Return the states to which an event leads, one after another."""
        steps, config = [self.foreseen()], event["project"]["label_config"]
        expected = steps[0][event["project"]["id"]]
        if config != BAD_CONFIG:
            expected.label_config = config
        if "annotations" in event:
            expected.delete(sent["id"] for sent in event["annotations"])
        elif "annotation" in event:
            expected.record(event["annotation"])
            steps.append({id: one.copy() for id, one in steps[0].items()})
            steps[1][event["project"]["id"]].open_due()
        return steps
