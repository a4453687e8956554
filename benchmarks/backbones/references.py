"""What ours is measured against: torchvision's Faster R-CNN and the thesis' VGG-16, both eager.

Their weights are random: what they cost hangs on sizes and on how many regions they look at, which
are as many as they may, whatever the weights. BatchNorm is settled on real images first, so that
numbers stay in their range and proposals whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn

from model.boxes import Detections
from model.config import PRESETS
from model.rcnn.detecting import Detector
from model.rcnn.detector import TorchDetector, build
from preprocessing.prepare import Prepared

#: keras-frcnn's, and so the thesis': regions of an image that its classifier looked at.
THESIS_PROPOSALS = 300
REFERENCES = UNRESIZED, RESIZING, VGG = "torchvision", "torchvision, resizing", "thesis' VGG-16"
SETTLED_ON = 2


@dataclass(frozen=True)
class Torchvision:
    """torchvision's ``fasterrcnn_resnet50_fpn`` behind our interface; grey as three colours."""

    module: FasterRCNN
    classes: tuple[str, ...] = ("cell",)

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        return [self._detect(image) for image in images]

    @torch.inference_mode()
    def _detect(self, image: Prepared) -> Detections:
        found = self.module([in_colour(image.pixels)])[0]
        boxes, scores, labels = (found[n].numpy() for n in ("boxes", "scores", "labels"))
        return Detections(boxes, scores, labels - 1, self.classes)


def in_colour(pixels: np.ndarray) -> Tensor:
    """Return grey pixels, shape (H, W), as three equal channels, shape (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).expand(3, -1, -1)


def torchvision_resnet50(resized: bool) -> FasterRCNN:
    """Return the module with random weights and one class.

    Parameters
    ----------
    resized
        As it comes: images are brought to a shorter side of 800 pixels, a longer of at most 1333.
        Else each stays as it is.
    """
    torch.manual_seed(0)
    module: FasterRCNN = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2)
    if not resized:
        module.transform.resize = lambda image, target=None: (image, target)
    return module


def settle(module: FasterRCNN, images: Sequence[Prepared]) -> FasterRCNN:
    """Take BatchNorm's statistics from a few images, and leave the module in eval mode."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a plain mean
    module.train()
    with torch.no_grad():
        for image in images[:SETTLED_ON]:
            batch, _ = module.transform([in_colour(image.pixels)])
            module.backbone(batch.tensors)
    return module.eval()


def references(images: Sequence[Prepared]) -> dict[str, Detector]:
    """Return the references by name, settled on the first of these images."""
    return {
        UNRESIZED: Torchvision(settle(torchvision_resnet50(resized=False), images)),
        RESIZING: Torchvision(settle(torchvision_resnet50(resized=True), images)),
        VGG: thesis_vgg(),
    }


def thesis_vgg() -> TorchDetector:
    """Return the thesis' model 06 with random weights, in eager mode, laid out as PyTorch does."""
    config = replace(PRESETS["m06"][0], rpn_post_nms=THESIS_PROPOSALS)
    torch.manual_seed(0)
    detector = TorchDetector(build(config, ("cell",)).eval(), config, ("cell",), "cpu")
    detector.module.to(memory_format=torch.contiguous_format)
    return detector
