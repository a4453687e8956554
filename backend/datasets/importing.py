"""Imports a folder of images as tasks of a project, and their boxes as annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from backend.datasets.classes import check_classes, classes_of, notes_on_alike, notes_on_mapping
from backend.datasets.drawn import AS_OURS, Notation
from backend.datasets.finding import find_annotations, find_images, others_in
from backend.datasets.folder import read_truth
from backend.datasets.label_config import with_classes
from backend.datasets.pairing import TruthSource, pair
from backend.errors import BadRequest, LabelStudioMissing
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.client import is_labelled
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.labelstudio.task_data import TaskData
from backend.services import Services
from backend.signing import matched_address
from backend.store.images import StoredImage
from backend.store.projects import Project
from model.atomic import locked
from model.wording import shortened
from preprocessing.errors import UnreadableImage
from preprocessing.images import ImageRecord, PageKey, encode_png, read_display, read_image

Pages = Literal["first", "all"]


@dataclass
class Imported:
    """What an import did.

    Parameters
    ----------
    tasks
        New tasks.
    known
        Images that the project had already.
    doubled
        Images that were also in an earlier file of the folder.
    annotated
        Tasks that got the boxes of an annotation.
    unreadable
        Names of files and pages that cannot be read.
    notes
        What was left out, clipped or odd, in sentences; unreadable files come first.
    """

    tasks: int = 0
    known: int = 0
    doubled: int = 0
    annotated: int = 0
    unreadable: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def import_folder(
    services: Services,
    project: int,
    folder: Path,
    annotations: Path | None = None,
    notation: Notation = AS_OURS,
    pages: Pages = "first",
    classes_from_annotations: bool = False,
    on_progress: Callable[[int, int, str], None] | None = None,
    on_wait: Callable[[], object] | None = None,
) -> Imported:
    """Import the images of a folder, and their boxes, into a project of Label Studio.

    The raw file is kept by its hash; the browser shows a stretched 8-bit PNG of the same size. An
    image is never imported twice into a project, so running an interrupted import again finishes
    it. If two imports into a project run at once, the second waits and then finds what the first
    imported.

    Parameters
    ----------
    annotations
        Folder of VOC files with the stems of the images, or a CSV file (``boxes_csv``). Images that
        have no annotation there become open tasks.
    notation
        How the annotations are written.
    pages
        For a multi-page TIFF, the first page only or a task for each page.
    classes_from_annotations
        Give the project the classes of the annotations. Its own classes are kept if anything is
        annotated in it.
    on_progress
        Called with the number of files done, the number of all, and the file's name.
    on_wait
        Called before waiting for another import into the project.

    Raises
    ------
    BadRequest
        The folder has no image, or an annotation is broken or has a class that the project does not
        know. Nothing was imported.
    NotFound
        There is no such project.
    LabelStudioError
        Label Studio is away or refuses; what was imported before stays.
    """
    done = Imported()
    files, misnamed = find_images(folder)
    truth_of, odd = _truth_of(files, annotations) if annotations else ({}, [])
    beside = others_in(folder, [annotations] if annotations else []).notes()
    done.notes += [*misnamed, *beside, *odd]
    with locked(services.settings.home / f"importing-{project}.lock", on_wait):
        owner = services.projects.get(project)
        one_based = notation.one_based
        drawn = [box for each in truth_of.values() for box in each.read(one_based=one_based).boxes]
        if annotations:
            done.notes += notes_on_mapping(notation.mapping, Counter(box.label for box in drawn))
        classes = classes_of(notation.renamed(drawn))
        if classes_from_annotations and classes:
            owner = _give_classes(services, owner, classes)
            done.notes += notes_on_alike(classes)
        _check(owner, classes)
        importer = _Importer(services, owner, truth_of, notation, done)
        for number, path in enumerate(files):
            if on_progress:
                on_progress(number, len(files), path.name)
            importer.bring(path, pages)
        importer.tell()
    return done


def _truth_of(
    files: Sequence[Path], annotations: Path
) -> tuple[dict[Path, TruthSource], list[str]]:
    """Return the annotation of each image that has one, and what is odd about them."""
    found = find_annotations(annotations)
    pairing = pair(files, found.sources)
    notes = [*found.misnamed, *found.useless, *pairing.notes]
    if lone := pairing.lone_annotations:
        notes.append(f"annotations without an image left out: {shortened(a.title for a in lone)}")
        notes += pairing.notes_on_case()
    if not pairing.pairs:
        nothing = f"No annotation of {annotations} has the stem of an image."
        raise BadRequest("\n  ".join([nothing, *pairing.notes_on_case()]))
    return dict(pairing.pairs), notes


def _check(project: Project, classes: Sequence[str]) -> None:
    known = _shows_imported(project).classes
    others = "let the project have those of the annotations with --classes from-annotations"
    check_classes(classes, known, "the project", or_else=others)


def _shows_imported(project: Project) -> LabellingInterface:
    """Return a project's interface; refuse one that does not show the image of imported tasks."""
    interface = LabellingInterface.parse(project.label_config)
    if interface.data_key != "image":
        raise BadRequest(
            f'The label_config shows "${interface.data_key}", but imported tasks carry their image '
            'as "image": write value="$image" in its <Image>.'
        )
    return interface


def _give_classes(services: Services, project: Project, classes: tuple[str, ...]) -> Project:
    _shows_imported(project)  # refuse before anything is changed
    keep = services.annotations.number(project.id) > 0
    config = with_classes(project.label_config, classes, keep=keep)
    services.label_studio.patch_project(project.id, label_config=config)
    return services.projects.ensure(project.id, project.title, config)


@dataclass(frozen=True)
class _Known:
    """A task that Label Studio already has."""

    id: int
    is_annotated: bool = False

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> Self:
        return cls(int(task["id"]), is_labelled(task))


class _Importer:
    """Imports files into one project, one after the other."""

    def __init__(
        self,
        services: Services,
        project: Project,
        truth_of: Mapping[Path, TruthSource],
        notation: Notation,
        done: Imported,
    ) -> None:
        self._services = services
        self._project = project.id
        self._interface = LabellingInterface.parse(project.label_config)
        self._truth_of = truth_of
        self._notation = notation
        self._done = done
        self._brought = set[PageKey]()
        self._left_out, self._other_names = list[str](), list[str]()
        # From Label Studio's list, not the store's: a task may have been deleted there, or made by
        # an import that was interrupted before the store knew. Only the needed part of each task is
        # kept: its predictions take megabytes.
        self._tasks = dict[PageKey, _Known]()
        for task in services.label_studio.tasks(project.id):
            self._note(TaskData.of(task), _Known.of(task))

    def _note(self, data: TaskData, task: _Known) -> None:
        """Note which task has an image: of several the first, but rather one that is annotated."""
        if data.sha256 and (task.is_annotated or data.key not in self._tasks):
            self._tasks[data.key] = task

    def bring(self, path: Path, pages: Pages) -> None:
        """Import one file; unreadable parts are reported, and the rest is kept."""
        try:
            data = path.read_bytes()
        except OSError as error:
            why = f"it cannot be read ({error.strerror}); check its rights, or the share it lies on"
            self._leave_out(path.name, f"{path.name} left out: {why}")
            return
        try:
            first = read_image(data)
            self._services.images.keep(data)
            self._bring_page(path, data, first)
        except UnreadableImage as error:
            self._leave_out(path.name, f"{path.name} left out: {error}")
            return
        if pages == "all":
            self._bring_others(path, data, first.pages, first.sha256)
        elif first.pages > 1:
            self._done.notes.append(
                f"{path.name} has {first.pages} pages: the first was taken "
                "(cytoloop import DIR --pages all takes each)"
            )

    def _bring_others(self, path: Path, data: bytes, pages: int, sha256: str) -> None:
        """Import all pages of a file but the first."""
        for page in range(1, pages):
            try:
                self._bring_page(path, data, read_image(data, page, sha256))
            except UnreadableImage as error:
                what = f"page {page + 1} of {path.name} left out, the pages that can be read taken"
                self._leave_out(_page_name(path, page), f"{what}: {error}")

    def _leave_out(self, name: str, note: str) -> None:
        self._done.unreadable.append(name)
        self._left_out.append(note)

    def tell(self) -> None:
        """Put unreadable files first in the notes, and list files known by another name in one."""
        self._done.notes[:0] = self._left_out
        if self._other_names:
            what = "counted once, under the name that the same image has already"
            self._done.notes.append(f"{what}: {shortened(self._other_names)}")

    def _bring_page(self, path: Path, data: bytes, record: ImageRecord) -> None:
        name, key = _page_name(path, record.page), record.key
        stored = self._services.images.add(self._project, *key, name, *record.size)
        if stored.name != name:
            self._other_names.append(f"{name} as {stored.name}")
        if (task := self._tasks.get(key) or self._unlisted(stored)) is None:
            task = _Known(self._new_task(data, record, name))
            self._done.tasks += 1
        elif key in self._brought:
            self._done.doubled += 1
        else:
            self._done.known += 1
        self._tasks[key] = task
        self._brought.add(key)
        self._services.images.attach_task(self._project, *key, task.id)
        # An annotation belongs to one image: the first of a multi-page file.
        if path in self._truth_of and record.page == 0:
            if task.is_annotated:
                title = self._truth_of[path].title
                self._done.notes.append(f"{title} not used: its image is annotated already")
            else:
                self._tasks[key] = _Known(task.id, self._annotate(task.id, path, record))

    def _unlisted(self, stored: StoredImage) -> _Known | None:
        """Return the task that shows an image although Label Studio's list left it out, if any.

        If a task is deleted while the list is read, those after it move up one place, and one moves
        from the next page to the page already read.
        """
        if stored.task is None:
            return None
        try:
            task = self._services.label_studio.listed_task(self._project, stored.task)
        except LabelStudioMissing:
            return None
        # A Label Studio restored from a copy may have given the number to another task.
        return _Known.of(task) if TaskData.of(task).key == stored.key else None

    def _new_task(self, data: bytes, record: ImageRecord, name: str) -> int:
        matched = matched_address(self._services, self._project, *record.key)
        told = TaskData(*record.key, name).written(matched)
        png = encode_png(read_display(data, record.page))
        shown = f"{Path(name).stem}.png"
        return self._services.label_studio.import_task(self._project, png, shown, told)

    def _annotate(self, task: int, path: Path, record: ImageRecord) -> bool:
        """Give a task its boxes, and tell whether it is annotated now."""
        truth = read_truth(path, self._truth_of[path], record, self._notation.one_based)
        self._done.notes += truth.notes
        if why := truth.why_left_out:
            self._done.notes.append(f"{path.name}: {why}; its task stays open")
            return False
        boxes = self._notation.renamed(truth.boxes)
        regions = to_regions(boxes, *record.size, self._interface)
        self._services.label_studio.create_annotation(task, regions)
        made = self._services.label_studio.listed_task(self._project, task)["annotations"]
        for values in made:
            annotation = Annotation.from_label_studio(values, self._project, task)
            self._services.annotations.record(annotation)
        self._done.annotated += 1
        return bool(made)


def _page_name(path: Path, page: int) -> str:
    """Return the name of a page's image; the first page has the name of its file."""
    return f"{path.stem}-page{page + 1}{path.suffix}" if page else path.name
