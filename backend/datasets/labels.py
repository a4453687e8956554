"""A label_config that knows the classes that annotations bring along."""

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
    for number, name in enumerate((c for c in classes if c not in known), start=len(known)):
        colour = COLOURS[number % len(COLOURS)]
        ET.SubElement(control, "Label", {"value": name, "background": colour})
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")
