"""A detector's weights on disk, and a start from those of another version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.atomic import new_file
from model.boxes import CELL

_PREDICTOR = "roi_heads.box_predictor."
_HEAD, _REFINER = "roi_heads.box_head.", "roi_heads.refiner.head."
_BACKGROUND = 1


class InitialWeights(NamedTuple):
    """Weights to begin with, and the classes that they know, in label order."""

    file: Path
    classes: tuple[str, ...]


def save_weights(module: nn.Module, path: Path) -> Path:
    """Write the weights, float32, as safetensors: a reader sees the whole file or none."""
    state = {name: t.detach().cpu().contiguous() for name, t in module.state_dict().items()}
    with new_file(path) as partial:
        save_file(state, partial)
    return path


def start_from(module: nn.Module, start: InitialWeights, classes: Sequence[str]) -> int:
    """Take over the weights of another detector where name and shape are the same.

    In the box predictor the background and the classes that both know take over their rows. A new
    class begins as the cells of any kind where the other detector knows these, else with its fresh
    rows. A refiner that the other has not describes boxes as its box head does, to begin with.

    Returns
    -------
    How many tensors were taken over, wholly or in part.
    """
    given, own = load_file(start.file), module.state_dict()
    heads = {name: tensor for name, tensor in given.items() if name.startswith(_HEAD)}
    given = {_REFINER + name.removeprefix(_HEAD): tensor for name, tensor in heads.items()} | given
    taken = {
        name: tensor
        for name, tensor in given.items()
        if name in own and own[name].shape == tensor.shape and not name.startswith(_PREDICTOR)
    }
    for name in (n for n in own if n.startswith(_PREDICTOR) and n in given):
        if given[name].shape[1:] == own[name].shape[1:]:
            taken[name] = _rows_of_known(own[name], given[name], start.classes, classes)
    module.load_state_dict(taken, strict=False)
    return len(taken)


def _rows_of_known(
    own: Tensor, given: Tensor, start_classes: Sequence[str], classes: Sequence[str]
) -> Tensor:
    per_class = own.shape[0] // (len(classes) + _BACKGROUND)
    ours = own.clone().view(len(classes) + _BACKGROUND, per_class, -1)
    theirs = given.view(len(start_classes) + _BACKGROUND, per_class, -1)
    ours[0] = theirs[0]
    for i, name in enumerate(classes):
        if (known := name if name in start_classes else CELL) in start_classes:
            ours[i + _BACKGROUND] = theirs[start_classes.index(known) + _BACKGROUND]
    return ours.view(own.shape)
