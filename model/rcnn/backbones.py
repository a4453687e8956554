"""The feature maps that a detector looks at, one grey channel in."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision import models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import Conv2dNormActivation
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from model.config import ImageNet
from model.rcnn.imagenet import imagenet_state, lacking, take_imagenet

log = logging.getLogger(__name__)


class Pyramid(nn.Module):
    """A feature pyramid (Lin et al. 2017) on some stages of a network.

    Gives maps named "0", "1", … from the finest on, all with ``out_channels`` channels.

    Parameters
    ----------
    stages
        Name and number of channels of each stage that the pyramid takes, finest first.
    top
        What makes one more, coarser map of the last; None: there is none.
    """

    def __init__(
        self,
        net: nn.Module,
        stages: dict[str, int],
        out_channels: int,
        top: LastLevelMaxPool | None = None,
    ) -> None:
        super().__init__()
        names = {stage: str(i) for i, stage in enumerate(stages)}
        self.body = IntermediateLayerGetter(net, return_layers=names)
        self.fpn = FeaturePyramidNetwork(list(stages.values()), out_channels, extra_blocks=top)
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        with mixed_precision(images.device):
            return _float32(self.fpn(self.body(images)))


class SingleMap(nn.Module):
    """A plain stack of layers whose last map is the only one, named "0"."""

    def __init__(self, layers: nn.Sequential, out_channels: int) -> None:
        super().__init__()
        self.body = layers
        self.out_channels = out_channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        with mixed_precision(images.device):
            return _float32(OrderedDict([("0", self.body(images))]))


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return a context of bfloat16 where CUDA has it, and of float32 elsewhere.

    Where it is emulated, as by cards from before 2020, it is slower than float32; on a CPU without
    AVX-512 a hundred times slower.

    Only backbones, which do nearly all of the arithmetic, work in it. Anchors and boxes take the
    type of the maps, and bfloat16 resolves no less than two pixels beyond 256: the maps are
    float32.
    """
    has_it = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_it)


def _float32(maps: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
    return OrderedDict((name, level.float()) for name, level in maps.items())


class VggFeatures(nn.Module):
    """The convolutions of VGG-16, without the 120 million weights of its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features = models.vgg.make_layers(models.vgg.cfgs["D"])
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def half_mobilenet() -> nn.Module:
    """Return MobileNetV2 with half its hidden channels, and half of its first layer's filters.

    At full width its first blocks take most of its time: their maps have half the image's side.
    """
    # Expansion, channels, blocks, stride; half of the paper's expansion of 6 (Sandler et al. 2018).
    stages = [[3, 24, 2, 2], [3, 32, 3, 2], [3, 64, 4, 2], [3, 96, 3, 1]]
    net = models.MobileNetV2(inverted_residual_setting=[[1, 16, 1, 1], *stages])
    net.features[0] = Conv2dNormActivation(
        3, 16, stride=2, norm_layer=nn.BatchNorm2d, activation_layer=nn.ReLU6
    )
    net.features[1] = InvertedResidual(16, 16, stride=1, expand_ratio=1)
    net.features[1].use_res_connect = False  # as in MobileNetV2, where it has 32 in and 16 out
    return net  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Recipe:
    """How a backbone is made.

    Parameters
    ----------
    net
        Builds the network, of random weights, for images of three colours.
    imagenet
        Its ImageNet weights as torchvision names them; None: there are none.
    cut
        Makes of the network a module from images to maps.
    stem_end
        Name of the last of its layers whose maps have a quarter of the image's side or more.
    """

    net: Callable[..., nn.Module]
    imagenet: Any
    cut: Callable[[Any], nn.Module]
    stem_end: str


# BatchNorm stays trainable everywhere: frozen statistics, torchvision's habit in detection, learn
# nothing from scratch.
_RECIPES: dict[str, _Recipe] = {
    "r18_p34_64": _Recipe(
        models.resnet18,
        models.ResNet18_Weights.DEFAULT,
        lambda net: Pyramid(net, {"layer2": 128, "layer3": 256}, 64),
        "layer1",
    ),
    "mbs8_64": _Recipe(
        models.mobilenet_v3_large,
        models.MobileNet_V3_Large_Weights.DEFAULT,
        # Blocks 6 and 12 are the last of strides 8 and 16.
        lambda net: Pyramid(net.features, {"6": 40, "12": 112}, 64),
        "3",
    ),
    "mbv2_64": _Recipe(
        models.mobilenet_v2,
        models.MobileNet_V2_Weights.DEFAULT,
        # Blocks 6 and 13 are the last of strides 8 and 16.
        lambda net: Pyramid(net.features, {"6": 32, "13": 96}, 64),
        "3",
    ),
    "mbv2_half_64": _Recipe(
        half_mobilenet,
        None,
        lambda net: Pyramid(net.features, {"6": 32, "13": 96}, 64),
        "3",
    ),
    "resnet50_fpn": _Recipe(
        models.resnet50,
        models.ResNet50_Weights.DEFAULT,
        lambda net: Pyramid(
            net,
            {"layer1": 256, "layer2": 512, "layer3": 1024, "layer4": 2048},
            256,
            LastLevelMaxPool(),
        ),
        "layer1",
    ),
    "vgg16": _Recipe(
        VggFeatures,
        models.VGG16_Weights.DEFAULT,
        # Without the last pooling: stride 16.
        lambda net: SingleMap(net.features[:-1], 512),
        "9",
    ),
}


def build_backbone(name: str, imagenet: ImageNet = "never") -> nn.Module:
    """Build the backbone ``name``, from ImageNet weights where they are wanted and to be had.

    Returns
    -------
    A module from images, shape (N, 1, H, W), to an ordered dict of maps, with ``out_channels``.
    """
    recipe = _RECIPES[name]
    net = recipe.net()
    if imagenet != "never" and (state := imagenet_state(recipe.imagenet, imagenet)) is not None:
        take_imagenet(net, state, recipe.imagenet)
        log.info("%s starts from torchvision's ImageNet weights", name)
    _make_grey(net)
    _quicken(net)
    return recipe.cut(net)


def keep_stem(name: str, backbone: nn.Module) -> None:
    """Freeze the first layers of a backbone of this name.

    Their maps are the largest: they take a quarter of a training step's time and more.
    """
    for layer, module in backbone.body.named_children():  # type: ignore[union-attr]
        module.requires_grad_(False)
        if layer == _RECIPES[name].stem_end:
            return


def to_learn(module: nn.Module) -> None:
    """Put a detector into training mode, but for the BatchNorm of layers that do not learn."""
    for part in module.train().modules():
        if isinstance(part, nn.BatchNorm2d) and not part.weight.requires_grad:
            part.eval()


def _make_grey(net: nn.Module) -> None:
    """Make the first convolution take one channel, as if it came as red, green and blue at once."""
    path, rgb = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    grey = nn.Conv2d(
        1,
        rgb.out_channels,
        rgb.kernel_size,  # type: ignore[arg-type]
        rgb.stride,  # type: ignore[arg-type]
        rgb.padding,  # type: ignore[arg-type]
        bias=rgb.bias is not None,
    )
    with torch.no_grad():
        grey.weight.copy_(rgb.weight.sum(dim=1, keepdim=True))
        if rgb.bias is not None and grey.bias is not None:
            grey.bias.copy_(rgb.bias)
    parent, _, leaf = path.rpartition(".")
    setattr(net.get_submodule(parent), leaf, grey)


def _quicken(net: nn.Module) -> None:
    """Give BatchNorm PyTorch's own momentum: MobileNet's is for a million steps."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1


def folded(module: nn.Module) -> nn.Module:
    """Return a copy whose convolutions do the work of the batch normalisation behind each.

    It finds the same and is quicker, but can learn no more.
    """
    copied = deepcopy(module).eval()
    for parent in list(copied.modules()):
        for (name, conv), (behind, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, behind, nn.Identity())
    return copied


def imagenet_note(name: str, where: ImageNet) -> str:
    """Return in words that a backbone lacks the ImageNet weights there are of it; else nothing.

    Parameters
    ----------
    where
        As :func:`build_backbone` was given it.
    """
    return lacking(_RECIPES[name].imagenet, where)
