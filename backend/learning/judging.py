"""Judges a candidate beside the champion, on images new to both if there are any."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from backend.effort.believing import corrected_images
from backend.effort.measuring import started_from
from backend.labelstudio.annotation import Annotation
from backend.learning.snapshots import of_fields_untaught, unseen_images
from backend.services import Services
from backend.store.images import StoredImage
from model.judging.evaluation import judge_version
from model.judging.evidence import Evidence
from model.judging.gate import decide
from model.judging.policy import version_of
from model.judging.strata import FEWEST_IMAGES, ContrastStrata
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.progress import ignore_note
from model.versions import GateDecision, JudgedImage, ModelVersion
from model.wording import counted
from preprocessing.quantiles import profile_of

NOTHING_TO_JUDGE_BY = (
    "there is no corrected image that candidate and champion have seen as little",
    "champion stays; correct more images, or choose by hand with `cytoloop models promote`",
)

ALL_ALIKE = (
    "each held-out image is like one that teaches, for want of others: the figures flatter the "
    "candidate; correct images of other fields too"
)


def judge_beside_champion(
    services: Services,
    project: int,
    candidate: ModelVersion,
    champion: ModelVersion,
    snapshot: DatasetSnapshot,
) -> GateDecision:
    """Decide on the held-out images and on corrected images that the snapshot lacks.

    Neither version has seen the corrections that arrived while the candidate learned. Of these
    alone that is certain, however often the project was judged. If no image is unseen, as in a
    project of the very images that made the starter, images that both have seen judge. If every
    held-out image is like one that teaches, as in a film, the held-out images judge.
    """
    beside = unseen_images(services, project, snapshot)
    ours, theirs = (snapshot.seen_elsewhere(each.lineage) for each in (candidate, champion))
    held_out = snapshot.of_side("held-out")
    untaught = (*of_fields_untaught(services, project, held_out), *beside)
    corrected = untaught or held_out
    images = [i for i in corrected if i.sha256 not in ours | theirs]
    images = images or [i for i in corrected if i.sha256 in ours & theirs]
    if not images:
        return GateDecision(False, NOTHING_TO_JUDGE_BY)
    decision = decide(
        _evidence(services, project, candidate, images, snapshot),
        _evidence(services, project, champion, images, snapshot),
        _known(services, project, snapshot, images, beside, ours & theirs),
    )
    notes = (*_left_out(len(corrected) - len(images)), *(() if untaught else (ALL_ALIKE,)))
    return replace(decision, reasons=(*decision.reasons, *notes))


def _left_out(number: int) -> tuple[str, ...]:
    """Say how many images do not judge beside those that do, if any."""
    others = counted(number, "corrected image")
    why = f"candidate or champion has learned from {'it' if number == 1 else 'them'}"
    return (f"left out: {others}, since {why}",) if number else ()


def _evidence(
    services: Services,
    project: int,
    version: ModelVersion,
    images: Sequence[LabelledImage],
    snapshot: DatasetSnapshot,
) -> Evidence:
    return judge_version(
        services.registry.load_for(str(project), version, services.settings.device),
        images,
        snapshot.classes,
        default_class=services.projects.get(project).default_class,
    )


def _known(
    services: Services,
    project: int,
    snapshot: DatasetSnapshot,
    images: Sequence[LabelledImage],
    beside: Sequence[LabelledImage],
    seen: Collection[str],
) -> list[JudgedImage]:
    judged = {image.key for image in images}
    began = {
        image.key: _began_as(services, image, annotation)
        for image, annotation in corrected_images(services, project, ignore_note)
        if image.key in judged
    }
    strata = _strata(services, project, snapshot, images)
    return [
        JudgedImage(
            image.sha256,
            image.page,
            strata.name(_contrast(image)) if strata else "",
            # Its annotation may have been deleted since the snapshot was frozen.
            began_as=began.get(image.key, ""),
            is_beside_snapshot=image in beside,
            is_seen=image.sha256 in seen,
        )
        for image in images
    ]


def _strata(
    services: Services, project: int, snapshot: DatasetSnapshot, images: Sequence[LabelledImage]
) -> ContrastStrata | None:
    """Return the project's strata; the first judgement with enough images sets them.

    They come from the images that teach and those that judge, not from a version's groups.
    """
    strata = services.projects.get(project).strata
    if strata or len(images) < FEWEST_IMAGES:
        return strata
    taught = snapshot.of_side("train", "inner")
    found = ContrastStrata.of([_contrast(image) for image in (*taught, *images)])
    return services.projects.set_strata(project, found)


def _contrast(image: LabelledImage) -> float:
    return profile_of(image.read().pixels).contrast


def _began_as(services: Services, image: StoredImage, annotation: Annotation) -> str:
    """Return the version whose boxes were corrected; empty if the truth was drawn without boxes."""
    began = started_from(services, annotation, image.key)
    return version_of(began.served) if began and not began.is_blind else ""
