"""Decides what of an annotation to believe: an accepted planted fault is nobody's judgement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from backend.effort.faults import let_stand, not_made_good
from backend.effort.measuring import is_unseen, started_from, submitted_boxes
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import DrawnBox, to_drawn_boxes
from backend.services import Services
from backend.store.images import StoredImage
from preprocessing.images import PageKey

#: Number of images whose annotations are read at a time; all may not fit in memory.
AT_ONCE = 20


def corrected_images(
    services: Services, project: int, on_note: Callable[[str], None]
) -> Iterator[tuple[StoredImage, Annotation]]:
    """Yield each corrected image of a project with the annotation that counts, without faults.

    If two tasks show an image, the later correction counts, in the place of the first. A page that
    was to open blank and was accepted unopened is left out: it does not mean an image without
    cells.

    A planted box that is still in its place is left out. A withheld box that nobody drew again, not
    even loosely, is put back: we kept it off the screen, and unwatched so sure a box would have
    stayed.

    Parameters
    ----------
    on_note
        Called with what is left out, and with each fault that was undone.

    Yields
    ------
    In the order in which the images were first corrected.
    """
    interface = LabellingInterface.parse(services.projects.get(project).label_config)
    watched, images = services.predictions.watched_tasks(project), services.images.of_tasks(project)
    showing = defaultdict[PageKey, list[int]](list)
    for task in services.annotations.corrected_in_order(project):
        if image := images.get(task):
            showing[image.key].append(task)
        else:
            on_note(
                f"task {task} left out: its image has not come from Label Studio yet "
                "(open the task once), or cannot be read"
            )
    for several in _by_image(services, project, list(showing.values())):
        image = images[several[0].task]
        believed = [
            _believed(services, annotation, image, interface, on_note)
            if annotation.task in watched
            else annotation
            for annotation in several
        ]
        if counting := [annotation for annotation in believed if annotation]:
            yield image, max(counting, key=lambda annotation: annotation.updated_at)


def _by_image(
    services: Services, project: int, showing: Sequence[Sequence[int]]
) -> Iterator[list[Annotation]]:
    """Yield, for each image, the annotations of the tasks that show it, one for each task."""
    for start in range(0, len(showing), AT_ONCE):
        part = showing[start : start + AT_ONCE]
        read = services.annotations.corrected(project, [task for tasks in part for task in tasks])
        by_task = {annotation.task: annotation for annotation in read}
        for tasks in part:
            # One may have been deleted meanwhile.
            if there := [by_task[task] for task in tasks if task in by_task]:
                yield there


def _believed(
    services: Services,
    annotation: Annotation,
    image: StoredImage,
    interface: LabellingInterface,
    on_note: Callable[[str], None],
) -> Annotation | None:
    began = started_from(services, annotation, image.key)
    if began is None or began.watch is None:
        return annotation
    submitted = submitted_boxes(annotation, image, interface)
    if began.watch.kind != "fault":
        if not is_unseen(annotation, submitted, began, image):
            return annotation
        on_note(f"{image.name} left out: it was accepted without being opened, and held no boxes")
        return None
    size = image.size
    left = let_stand(submitted, began.watch, size)
    missing = not_made_good(submitted, to_drawn_boxes(began.regions, *size), began.watch, size)
    _tell(image, left, missing, on_note)
    out, back = {box.id for box in left}, {box.id for box in missing}
    kept = [region for region in annotation.result if str(region.get("id")) not in out]
    kept += [region for region in began.watch.withheld if region["id"] in back]
    return replace(annotation, result=tuple(kept))


def _tell(
    image: StoredImage,
    left: list[DrawnBox],
    missing: list[DrawnBox],
    on_note: Callable[[str], None],
) -> None:
    for box in left:
        on_note(f"{image.name}: the planted box at {_place(box)} was let stand and is left out")
    for box in missing:
        on_note(
            f"{image.name}: the box at {_place(box)} was taken away on purpose, not drawn again, "
            "and is put back"
        )


def _place(box: DrawnBox) -> str:
    return f"x {box.box.xmin:.0f}, y {box.box.ymin:.0f}"
