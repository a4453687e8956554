"""What is chosen about a detector and its training: frozen, and part of each version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from preprocessing.configuration import Config
from preprocessing.contrast import ContrastConfig

Backbone = Literal["mbs8_64", "mbv2_64", "mbv2_half_64", "r18_p34_64", "resnet50_fpn", "vgg16"]
#: Where ImageNet weights may come from: nowhere, torch's own cache, or the network too.
ImageNet = Literal["never", "cached", "download"]


@dataclass(frozen=True)
class DetectorConfig(Config):
    """A Faster R-CNN: backbone, anchors, and caps wide enough for an image of 1,000 cells.

    Parameters
    ----------
    backbone
        Which network makes the maps (``model.rcnn.backbones``).
    anchor_sizes
        Side lengths in pixels of the prepared image; empty: k-means on the training boxes.
    aspect_ratios
        Height over width of the anchors, each at equal area.
    scale
        Prepared pixels per raw pixel; 0: found from the training boxes, or from the image itself
        by a version that was never taught the project's cells.
    cell_px, small_cell_px, enlargement
        Where ``scale=0``: images are shrunk until their median cell has ``cell_px`` pixels a side,
        and enlarged, up to ``enlargement`` times, until it has ``small_cell_px``.
    rpn_pre_nms, rpn_post_nms
        Proposals kept before NMS (each level) and after it, when detecting.
    rpn_crowded
        Up to how many times as many are kept where more are likely cells: before NMS all of these,
        after it those on which no better one lies. Images that are not crowded cost no more.
    rpn_nms_iou
        IoU, in [0, 1], above which the lesser of two proposals goes.
    proposal_floor
        Objectness below which a proposal is not looked at, when detecting: with the cap, it takes a
        quarter of the time away and more, and hardly any AP (docs/speed.md).
    detections_per_image
        Boxes kept of each look; torchvision's default of 100 would cut every dense image.
    nms_iou
        IoU, in [0, 1], above which the lesser of two boxes of a class goes.
    vote_iou
        A box is the mean of those that NMS takes for the same cell, as far as they overlap it by
        more than this; 0: it stays as it was found.
    refined
        Whether each box that was found is moved once more, closer about its cell
        (``model.rcnn.refining``).
    score_floor
        Score, in [0, 1], below which a box is not kept at all.
    head_features
        Figures by which the head describes a region: the width of its two layers.
    turned_px
        An image of so many prepared pixels at the most that is seen whole is looked at in all four
        quarter turns (``model.looking.turning``): by default half of 1280×1024.
    second_opinion
        Whether the classical detector is asked too about an image that is seen whole
        (``model.looking.second_opinion``): for a version that may meet cells of any kind.
    """

    backbone: Backbone = "mbv2_half_64"
    anchor_sizes: tuple[float, ...] = ()
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    scale: float = 0.0
    cell_px: float = 48.0
    small_cell_px: float = 32.0
    enlargement: float = 3.0
    rpn_pre_nms: int = 8000
    rpn_post_nms: int = 1000
    rpn_crowded: int = 4
    rpn_nms_iou: float = 0.7
    proposal_floor: float = 0.1
    detections_per_image: int = 1500
    nms_iou: float = 0.45
    vote_iou: float = 0.5
    refined: bool = True
    score_floor: float = 0.02
    head_features: int = 256
    turned_px: int = 655_360
    second_opinion: bool = False

    @property
    def looking_once(self) -> DetectorConfig:
        """The same, but each image is looked at upright alone, and nobody else is asked."""
        return replace(self, turned_px=0, second_opinion=False)


#: Images are sorted into contrast groups and flagged by them, but only stretched: matching them to
#: a template, wholly or half way, took AP50 away (docs/contrast.md).
STRETCHED_GROUPS = ContrastConfig(mode="groups", strength=0.0)

#: By name, what a person can choose that a detector is taught and served: the default, each image
#: stretched without groups, the thesis' one template (model 05) and one a group (model 06), half
#: way to that, and that after the background was evened out.
CONTRASTS: dict[str, ContrastConfig] = {
    "stretch": STRETCHED_GROUPS,
    "none": ContrastConfig(mode="none"),
    "single": ContrastConfig(mode="single"),
    "groups": ContrastConfig(mode="groups"),
    "groups-half": ContrastConfig(mode="groups", strength=0.5),
    "flat": ContrastConfig(mode="flat"),
}


@dataclass(frozen=True)
class TrainConfig(Config):
    """How a detector learns: AdamW, warm-up then cosine, gradient clip.

    Parameters
    ----------
    iterations
        Optimiser steps; 0: from the numbers of images and cells, and from what is begun with
        (see ``model.training.schedule.iterations_for``).
    batch
        Images that each step learns from.
    learning_rate, weight_decay
        The optimiser's; the rate at its highest.
    warmup
        Steps for which the rate rises; a quarter of all at the most.
    gradient_clip
        Length at which a gradient is cut; 0: never.
    rpn_proposals, rois_per_image
        Proposals kept and RoIs sampled an image in training: a lean head learns as well.
    optimiser
        PyTorch's AdamW or Adam.
    box_overlap, rpn_overlap
        IoU below which a region, or an anchor, is background, and from which on it is a cell; what
        lies between teaches nothing.
    background_from
        IoU with a cell below which a region teaches nothing either, unless its image has no cell.
    cell_share
        Share of the RoIs sampled that may show cells.
    crop_px
        Side of the parts that are learned from, in pixels of the prepared image; 0: whole images.
    contrast
        What the detector sees: each image as it is (stretched), matched to one template, or to
        its contrast group's, or that with its background evened out. By default images are sorted
        and flagged by groups, and stretched.
    zoom
        How much sizes are varied: by up to e to this, either way.
    astray
        Share of the images looked at from three to six times too near or too far: whoever is to
        find the scale by itself must know what is no cell there.
    tone
        How much gain and gamma are varied: up to this share, and e to this, either way; 0: not.
    invert
        Share of the images whose dark and bright are exchanged, cells and background alike.
    optics
        Share of the images that are shown as another microscope might: in phase contrast, in
        relief, by their rims, or through a filter drawn at random (see ``model.generated.optics``).
    shade
        How much the light falls off across the image: from side to side, and towards the corners,
        up to this share of it each.
    blur
        Up to how many pixels of the prepared image it is out of focus (standard deviation).
    noise
        Up to how much noise is added: its standard deviation as a part of the grey range.
    keep_stem
        Whether the first layers, whose maps have a quarter of the image's side or more, stay as
        they are where a training of few images goes on from a starter: a quarter of a step's time,
        and what they see is alike in all images (docs/speed.md).
    imagenet
        Where ImageNet weights may come from at a first training: torch's cache when they lie
        there, the network too, or nowhere.
    seed
        Of all that is drawn by chance.
    """

    iterations: int = 0
    batch: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: int = 40
    gradient_clip: float = 5.0
    rpn_proposals: int = 300
    rois_per_image: int = 128
    optimiser: Literal["adamw", "adam"] = "adamw"
    box_overlap: tuple[float, float] = (0.5, 0.5)
    rpn_overlap: tuple[float, float] = (0.3, 0.7)
    background_from: float = 0.0
    cell_share: float = 0.25
    crop_px: int = 320
    contrast: ContrastConfig = STRETCHED_GROUPS
    zoom: float = 0.2
    astray: float = 0.0
    tone: float = 0.3
    invert: float = 0.0
    optics: float = 0.0
    shade: float = 0.2
    blur: float = 0.5
    noise: float = 0.03
    keep_stem: bool = True
    imagenet: ImageNet = "cached"
    seed: int = 0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        contrast = ContrastConfig.from_json(values["contrast"])
        return super().from_json(values | {"contrast": contrast})


_THESIS = DetectorConfig(
    backbone="vgg16",
    aspect_ratios=(1.0, 0.5, 2.0),
    scale=1.0,
    rpn_post_nms=2000,
    rpn_crowded=1,
    proposal_floor=0.01,
    vote_iou=0.0,
    refined=False,
    turned_px=0,
)
_THESIS_TRAIN = TrainConfig(
    batch=1,
    optimiser="adam",
    learning_rate=1e-5,
    weight_decay=0.0,
    warmup=0,
    gradient_clip=0.0,
    rois_per_image=4,
    rpn_overlap=(0.3, 0.7),
    # Its "classifier overlap 0.1–0.5", as its code had it: background is what nearly hits.
    background_from=0.1,
    box_overlap=(0.5, 0.5),
    cell_share=0.5,
    crop_px=0,
    contrast=CONTRASTS["none"],
    zoom=0.0,
    tone=0.0,
    invert=0.0,
    shade=0.0,
    blur=0.0,
    noise=0.0,
    keep_stem=False,
)

#: By name, what is built and how it is trained: the default, one that looks once and does not
#: refine (a third to half of its time an image), and the thesis' models 03 to 06 (Tare 2020,
#: §5.1–5.4).
PRESETS: dict[str, tuple[DetectorConfig, TrainConfig]] = {
    "default": (DetectorConfig(), TrainConfig()),
    "fast": (replace(DetectorConfig().looking_once, refined=False), TrainConfig()),
    "m03": (replace(_THESIS, anchor_sizes=(64.0, 128.0, 256.0)), _THESIS_TRAIN),
    "m04": (replace(_THESIS, anchor_sizes=(32.0, 64.0, 128.0)), _THESIS_TRAIN),
    "m05": (
        replace(_THESIS, anchor_sizes=(32.0, 64.0, 128.0)),
        replace(_THESIS_TRAIN, contrast=CONTRASTS["single"]),
    ),
    "m06": (
        replace(_THESIS, anchor_sizes=(32.0, 64.0, 128.0)),
        replace(_THESIS_TRAIN, contrast=CONTRASTS["groups"]),
    ),
}
