"""Faster R-CNN for cells: built from a configuration, saved, loaded, and asked what it sees."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from model.boxes import Detections
from model.config import DetectorConfig, ImageNet, TrainConfig
from model.errors import BrokenVersion, NoSuchDevice, out_of_memory
from model.rcnn.anchors import MAPS, by_level
from model.rcnn.backbones import build_backbone, folded
from model.rcnn.cut import CutProposing
from model.rcnn.detecting import as_detections
from model.rcnn.heads import classify
from model.rcnn.pooling import BINS, RegionPool
from model.rcnn.proposals import propose
from model.rcnn.refining import Refiner, RefiningHeads, refined
from model.rcnn.sampling import SamplingHeads
from preprocessing.prepare import Prepared

# ImageNet's mean and deviation, averaged over the colours: one grey channel.
MEAN, DEVIATION = 0.449, 0.226
PAD_TO = 32


class OwnSize(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Normalises and pads; never resizes, since ``prepare()`` alone decides the scale."""

    def __init__(self) -> None:
        super().__init__(1, 1, [MEAN], [DEVIATION], size_divisible=PAD_TO)

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target


def build(
    config: DetectorConfig,
    classes: Sequence[str],
    training: TrainConfig | None = None,
    imagenet: ImageNet = "never",
) -> FasterRCNN:
    """Build a detector with fresh weights, on the CPU.

    Two-stage detection after Ren et al. 2015 ("Faster R-CNN"). Inside, label 0 is the background
    and ``classes`` begin at 1, as in torchvision; the labels of boxes found begin at 0
    (``model.rcnn.heads``).

    Parameters
    ----------
    config
        Resolved: anchor sizes given (see ``model.rcnn.anchors.resolve``).
    training
        How what learns is set; the defaults when left out.
    imagenet
        Where the backbone's ImageNet weights may come from.
    """
    backbone = build_backbone(config.backbone, imagenet)
    training = training or TrainConfig()
    channels: int = backbone.out_channels  # type: ignore[assignment]
    strides = MAPS[config.backbone].strides
    module = FasterRCNN(
        backbone,
        rpn_anchor_generator=_anchor_generator(config, len(strides)),
        # A stride beyond the padding is that of a map for the largest anchors: not pooled from.
        box_roi_pool=RegionPool([stride for stride in strides if stride <= PAD_TO]),
        box_head=TwoMLPHead(channels * BINS**2, config.head_features),
        box_predictor=FastRCNNPredictor(config.head_features, len(classes) + 1),
        **_limits(config, training),
    )
    module.transform = OwnSize()
    module.rpn = _proposing(module.rpn)
    module.roi_heads = _heads(module.roi_heads, config, training)
    return module


def _limits(config: DetectorConfig, training: TrainConfig) -> dict[str, float]:
    """Return by torchvision's names what is kept, compared and sampled."""
    return {
        "rpn_pre_nms_top_n_train": 2 * training.rpn_proposals,
        "rpn_post_nms_top_n_train": training.rpn_proposals,
        "rpn_pre_nms_top_n_test": config.rpn_pre_nms,
        "rpn_post_nms_top_n_test": config.rpn_post_nms,
        "rpn_nms_thresh": config.rpn_nms_iou,
        "rpn_bg_iou_thresh": training.rpn_overlap[0],
        "rpn_fg_iou_thresh": training.rpn_overlap[1],
        "box_score_thresh": config.score_floor,
        "box_nms_thresh": config.nms_iou,
        "box_detections_per_img": config.detections_per_image,
        "box_bg_iou_thresh": training.box_overlap[0],
        "box_fg_iou_thresh": training.box_overlap[1],
        "box_batch_size_per_image": training.rois_per_image,
        "box_positive_fraction": training.cell_share,
    }


def _proposing(rpn: RegionProposalNetwork) -> CutProposing:
    """Return the same proposals, but that learn nothing from cells that a window cuts."""
    matcher, sampler = rpn.proposal_matcher, rpn.fg_bg_sampler
    return CutProposing(
        rpn.anchor_generator,
        rpn.head,
        fg_iou_thresh=matcher.high_threshold,
        bg_iou_thresh=matcher.low_threshold,
        batch_size_per_image=sampler.batch_size_per_image,
        positive_fraction=sampler.positive_fraction,
        pre_nms_top_n=rpn._pre_nms_top_n,
        post_nms_top_n=rpn._post_nms_top_n,
        nms_thresh=rpn.nms_thresh,
    )


def _heads(heads: RoIHeads, config: DetectorConfig, training: TrainConfig) -> SamplingHeads:
    """Return heads that sample as the training wants it, with a refiner where one is wanted."""
    matcher, sampler = heads.proposal_matcher, heads.fg_bg_sampler
    kind = RefiningHeads if config.refined else SamplingHeads
    ours = kind(
        heads.box_roi_pool,
        heads.box_head,
        heads.box_predictor,
        fg_iou_thresh=matcher.high_threshold,
        bg_iou_thresh=matcher.low_threshold,
        batch_size_per_image=sampler.batch_size_per_image,
        positive_fraction=sampler.positive_fraction,
        bbox_reg_weights=heads.box_coder.weights,
        score_thresh=heads.score_thresh,
        nms_thresh=heads.nms_thresh,
        detections_per_img=heads.detections_per_img,  # torchvision's own cut; ours: as_detections
    )
    ours.background_from = training.background_from
    if isinstance(ours, RefiningHeads):
        ours.refiner = Refiner(copy.deepcopy(heads.box_head), config.head_features)
    return ours


def _anchor_generator(config: DetectorConfig, levels: int) -> AnchorGenerator:
    if not config.anchor_sizes:
        raise ValueError("the configuration has no anchor sizes yet: resolve it first")
    return AnchorGenerator(by_level(config.anchor_sizes, levels), (config.aspect_ratios,) * levels)


class TorchDetector:
    """A Faster R-CNN that finds cells in prepared images.

    How many threads it uses is the caller's choice (``torch.set_num_threads``).

    Parameters
    ----------
    module
        From :func:`build`.
    config
        What it was built from.
    classes
        Names of the classes, in label order.
    device
        ``"auto"``: CUDA when there is one.
    """

    def __init__(
        self,
        module: FasterRCNN,
        config: DetectorConfig,
        classes: tuple[str, ...],
        device: str = "auto",
    ) -> None:
        self.config = config
        self.classes = classes
        self.device = pick_device(device)
        self.module: FasterRCNN = on_device(module, self.device).eval()

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        """Find the cells of each image; see ``model.rcnn.detecting.Detector``.

        Images go through one by one: padding to a common size would let an image's boxes depend
        on the images beside it, and a batch is no faster on a CPU.
        """
        return [self._detect(image) for image in images]

    def sparing(self, floor: float) -> TorchDetector:
        """Return it with another floor of proposals; see ``model.rcnn.detecting.Sparing``."""
        config = replace(self.config, proposal_floor=floor)
        return TorchDetector(self.module, config, self.classes, str(self.device))

    def folded(self) -> TorchDetector:
        """Return it as it serves: batch normalisation a part of the convolutions."""
        module = folded(self.module)
        return TorchDetector(module, self.config, self.classes, str(self.device))

    @torch.inference_mode()
    def _detect(self, image: Prepared) -> Detections:
        grey = torch.from_numpy(np.ascontiguousarray(image.pixels, np.float32))
        batch, _ = self.module.transform([grey[None].to(self.device)])
        features = self.module.backbone(batch.tensors)
        limits = torch.tensor(batch.image_sizes[0][::-1], dtype=torch.float32, device=self.device)
        floor = torch.tensor(self.config.proposal_floor, device=self.device)
        maps, padded = list(features.values()), batch.tensors.shape[-2:]
        proposals, capped = propose(self.module.rpn, self.config, maps, padded, limits, floor)
        heads = self.module.roi_heads
        pooled = heads.box_roi_pool(features, [proposals], batch.image_sizes)
        found = classify(heads, proposals, heads.box_head(pooled), limits, self.config.vote_iou)
        if self.config.refined:
            pool, head = heads.box_roi_pool, heads.refiner.head
            found = refined(
                heads, found, limits, lambda boxes: head(pool(features, [boxes], batch.image_sizes))
            )
        boxes, scores, labels, caps = (part.cpu().numpy() for part in (*found, capped))
        return as_detections(boxes, scores, labels, caps, self.config, self.classes)


def pick_device(device: str = "auto") -> torch.device:
    """Return the device of that name; ``"auto"`` is CUDA when there is one, else the CPU.

    Raises
    ------
    NoSuchDevice
        CUDA is asked for, and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if device.startswith("cuda") and not has_cuda:
        raise NoSuchDevice("there is no CUDA device: take the device auto or cpu")
    if device == "auto":
        device = "cuda" if has_cuda else "cpu"
    return torch.device(device)


def on_device(module: nn.Module, device: torch.device) -> nn.Module:
    """Move the module; its convolutions work channels last, which is quicker on any device."""
    return module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def load_detector(
    path: Path, config: DetectorConfig, classes: tuple[str, ...], device: str = "auto"
) -> TorchDetector:
    """Load a detector from a file of :func:`model.rcnn.weights.save_weights`.

    Raises
    ------
    BrokenVersion
        When the file is missing or truncated, or its weights are of another architecture.
    MemoryError
        When there is too little memory to load them.
    """
    try:
        module = build(config, classes)
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        if out_of_memory(error):
            raise MemoryError(f"{path} cannot be loaded: {error}") from error
        raise BrokenVersion(f"{path} holds no weights of this detector: {error}") from error
    return TorchDetector(module, config, classes, device)
