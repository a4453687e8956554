"""Where ImageNet weights come from: torch's cache, or the network."""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlparse
from urllib.request import urlopen

import torch
from torch import Tensor, nn

from model.config import ImageNet
from model.errors import DamagedWeights, out_of_memory

log = logging.getLogger(__name__)

#: How long the network may take to answer at all.
_PROBE_S = 5.0


def lacking(weights: Any, where: ImageNet) -> str:
    """Return in words that a network lacks the ImageNet weights there are of it; else nothing.

    Parameters
    ----------
    weights
        Those of torchvision for this network; None: there are none.
    where
        Where they were allowed to come from when it was built.
    """
    if where == "never" or weights is None or (file := _cached(weights)).exists():
        return ""
    return (
        f"the backbone began from random weights, not from ImageNet's: put {file.name} of"
        f" torchvision into {file.parent} to begin from these"
    )


def imagenet_state(weights: Any, where: ImageNet) -> dict[str, Tensor] | None:
    """Return a network's ImageNet weights, None where they cannot be had; see :func:`lacking`.

    Raises
    ------
    DamagedWeights
        The file in torch's cache is none of weights, or only a part of it.
    """
    if weights is None:
        return None
    cached = _cached(weights)
    if cached.exists():
        return _read(weights, cached)
    if where == "cached":
        log.info("no ImageNet weights: %s is not in torch's cache; starting from nothing", cached)
        return None
    if not _reachable(weights.url):
        log.warning("no ImageNet weights: %s cannot be reached; starting from nothing", weights.url)
        return None
    return _downloaded(weights)


def _read(weights: Any, cached: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        if out_of_memory(error):
            raise
        raise _damaged(cached, "holds no ImageNet weights") from error
    return state


def _downloaded(weights: Any) -> dict[str, Tensor] | None:
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # cut off, or not of the hash in its name
        if out_of_memory(error):
            raise
        log.warning(
            "no ImageNet weights: %s cannot be downloaded (%s); starting from nothing",
            weights.url,
            error,
        )
        return None
    return state


def take_imagenet(net: nn.Module, state: dict[str, Tensor], weights: Any) -> None:
    """Give a network its ImageNet weights; of a classifier that it has not, none are taken.

    Parameters
    ----------
    state
        What :func:`imagenet_state` returned of these weights.

    Raises
    ------
    DamagedWeights
        They are another network's.
    """
    parts = dict(net.named_children())
    own = {name: each for name, each in state.items() if name.partition(".")[0] in parts}
    try:
        net.load_state_dict(own)
    except RuntimeError as error:  # a layer too few, too many, or of another shape
        raise _damaged(_cached(weights), "holds the weights of another network") from error


def _damaged(cached: Path, how: str) -> DamagedWeights:
    return DamagedWeights(
        f"{cached} {how}: delete it, or put torchvision's own file of this name there; then train"
        " again"
    )


def _cached(weights: Any) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name)


def _reachable(url: str) -> bool:
    # torch.hub downloads without a time limit: a network that is away must show itself before.
    try:
        with urlopen(url, timeout=_PROBE_S):  # noqa: S310 - torchvision's own https address
            return True
    except OSError:
        return False
