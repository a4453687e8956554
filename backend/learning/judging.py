"""The judgement of a candidate beside the champion, on images that neither has seen."""

from __future__ import annotations

from collections.abc import Sequence

from backend.effort.measuring import started_from
from backend.learning.snapshots import truths, unseen_images
from backend.services import Services
from backend.serving.policy import version_of
from backend.store.annotations import Annotation
from model.evaluation import judge_version
from model.evidence import Evidence
from model.examples import DatasetSnapshot, LabelledImage
from model.gate import decide
from model.versions import GateDecision, JudgedImage, ModelVersion

NOTHING_TO_JUDGE_BY = (
    "there is no corrected image that neither candidate nor champion has seen",
    "champion stays; correct more images, or choose by hand with `cytoloop models promote`",
)


def judge(
    services: Services,
    project: int,
    candidate: ModelVersion,
    champion: ModelVersion,
    snapshot: DatasetSnapshot,
) -> GateDecision:
    """Decide on the held-out images, and on those that were corrected beside the snapshot.

    The corrections that arrived while the candidate learned are unseen by both, and they are the
    only ones of which this is so for certain however often a project was judged.
    """
    beside = unseen_images(services, project, snapshot)
    seen = _seen_elsewhere(snapshot, candidate, champion)
    images = [i for i in (*snapshot.of_side("held-out"), *beside) if i.sha256 not in seen]
    if not images:
        return GateDecision(False, NOTHING_TO_JUDGE_BY)
    return decide(
        _evidence(services, project, candidate, images, snapshot),
        _evidence(services, project, champion, images, snapshot),
        _known(services, project, images, beside),
    )


def _seen_elsewhere(snapshot: DatasetSnapshot, *versions: ModelVersion) -> set[str]:
    """Return the hashes that a version has seen other than in this snapshot.

    The pages of a file have one hash and may be on several sides: those of this snapshot are told
    apart by it.
    """
    here = {image.sha256 for image in snapshot.of_side("train", "inner")}
    return {sha256 for version in versions for sha256 in version.lineage} - here


def _evidence(
    services: Services,
    project: int,
    version: ModelVersion,
    images: Sequence[LabelledImage],
    snapshot: DatasetSnapshot,
) -> Evidence:
    return judge_version(
        services.registry.load(version.id, services.settings.device),
        images,
        snapshot.classes,
        default_class=services.projects.get(project).default_class,
    )


def _known(
    services: Services,
    project: int,
    images: Sequence[LabelledImage],
    beside: Sequence[LabelledImage],
) -> list[JudgedImage]:
    truth = truths(services, project)
    return [
        JudgedImage(
            image.sha256,
            image.page,
            began_as=_began_as(services, project, truth.get((image.sha256, image.page))),
            is_beside_snapshot=image in beside,
        )
        for image in images
    ]


def _began_as(services: Services, project: int, annotation: Annotation | None) -> str:
    """Return the version whose boxes were corrected; empty where the truth was drawn from none."""
    if annotation is None:  # deleted since the snapshot froze
        return ""
    shown = services.predictions.of_task(project, annotation.task)
    began = started_from(annotation, shown)
    return version_of(began.served) if began else ""
