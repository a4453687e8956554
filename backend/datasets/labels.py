"""label_configs that know the classes that annotations bring along."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from backend.datasets.drawing import COLOURS
from backend.labelstudio.interface import LabellingInterface


def with_classes(label_config: str, classes: Sequence[str], keep: bool) -> str:
    """Return the label_config with these classes.

    Parameters
    ----------
    keep
        Keep the classes that it has, since annotations may name them; else only the new ones are
        left.
    """
    interface = LabellingInterface.parse(label_config)
    root: ET.Element = fromstring(label_config)
    control = next(c for c in root.iter("RectangleLabels") if c.get("name") == interface.from_name)
    if not keep:
        for label in list(control.iter("Label")):
            control.remove(label)
    known = interface.classes if keep else ()
    _add(control, [name for name in classes if name not in known], len(known))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def label_config_of(classes: Sequence[str]) -> str:
    """Return a label_config that draws boxes of these classes and has nothing else."""
    root = ET.Element("View")
    ET.SubElement(root, "Image", {"name": "image", "value": "$image"})
    control = ET.SubElement(root, "RectangleLabels", {"name": "label", "toName": "image"})
    _add(control, classes)
    return ET.tostring(root, encoding="unicode")


def _add(control: ET.Element, classes: Sequence[str], first: int = 0) -> None:
    """Add a label of its own colour for each class, as many as ``first`` after those before."""
    for number, name in enumerate(classes, start=first):
        colour = COLOURS[number % len(COLOURS)]
        ET.SubElement(control, "Label", {"value": name, "background": colour})
