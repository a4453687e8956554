"""The models of the ladder: the thesis' four, its last under our optimiser, and ours."""

from __future__ import annotations

from dataclasses import dataclass, replace

from model.config import PRESETS, DetectorConfig, TrainConfig

#: What our trainings are, apart from what they see.
OURS = TrainConfig()
#: Deeper nets without BatchNorm do not bear our rate of 1e-3; at a tenth of it VGG-16 learns.
VGG_RATE = 1e-4

DEVIATIONS = (
    "regions are pooled by RoIAlign; the thesis cut them out and resized them",
    "anchors across the border learn; the thesis' code left them out",
    "torchvision mixes the true boxes into the proposals that the classifier learns from",
    "the head has two layers of 256, without dropout; the thesis' had VGG-16's two of 4,096",
    "one grey channel, normalised by ImageNet's mean; the thesis gave it three equal ones",
    "images are stretched, or matched, to their percentiles by our preparation; contrast groups"
    " are found automatically, the thesis sorted by hand",
    "losses are torchvision's: smooth L1 of its own width, and weights of its own",
    "one step learns from the losses of RPN and classifier together; keras-frcnn took one for each",
    "the RPN learns from 256 anchors an image, and its proposals are those of the 600 likeliest",
    "under our optimiser VGG-16, which has no BatchNorm, learns at a tenth of our rate",
    "ours looks at a small image in four quarter turns, the thesis' once",
    "ours refines each box that it found, by a head whose loss is not in the record",
    "ImageNet weights are taken where they lie in torch's cache; else every model begins from"
    " nothing",
)


@dataclass(frozen=True)
class Rung:
    """One model of the ladder.

    Parameters
    ----------
    falling
        Its rate falls with time; the thesis' stayed.
    share
        Part of the ladder's time that it is given.
    """

    name: str
    says: str
    detector: DetectorConfig
    training: TrainConfig
    falling: bool = True
    share: float = 1.0

    @property
    def is_thesis(self) -> bool:
        return self.name in ("m03", "m04", "m05", "m06")


def rungs(scale: float) -> dict[str, Rung]:
    """Return the ladder by name.

    Parameters
    ----------
    scale
        Prepared pixels per raw pixel of the VGG models; their anchors shrink with it, so that each
        looks for the cells that it looks for at full size. Ours finds its own.
    """
    says = {
        "m03": "anchors 64, 128, 256",
        "m04": "anchors 32, 64, 128",
        "m05": "m04, all images matched to one template",
        "m06": "m04, each contrast group to its own",
    }
    thesis = [Rung(name, text, *_thesis(name, scale), falling=False) for name, text in says.items()]
    return {rung.name: rung for rung in (*thesis, *_ours(scale))}


def _thesis(name: str, scale: float) -> tuple[DetectorConfig, TrainConfig]:
    detector, training = PRESETS[name]
    anchors = tuple(size * scale for size in detector.anchor_sizes)
    return replace(detector, scale=scale, anchor_sizes=anchors), training


def _ours(scale: float) -> tuple[Rung, ...]:
    detector, training = _thesis("m06", scale)
    under_ours = replace(
        training,
        optimiser=OURS.optimiser,
        learning_rate=VGG_RATE,
        weight_decay=OURS.weight_decay,
        warmup=OURS.warmup,
        gradient_clip=OURS.gradient_clip,
    )
    default = PRESETS["default"]
    return (
        Rung("m06-ours", "m06 under our optimiser", detector, under_ours),
        Rung("default", "ours", *default),
        Rung("default-20th", "ours, in a twentieth of the time", *default, share=1 / 20),
    )
