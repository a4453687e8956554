"""Puts the classes of annotations into a label_config."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from backend.datasets.classes import map_option
from backend.datasets.palette import COLOURS
from backend.errors import BadRequest
from backend.labelstudio.interface import LabellingInterface


def with_classes(label_config: str, classes: Sequence[str], keep: bool) -> str:
    """Return the label_config with these classes.

    Parameters
    ----------
    keep
        Keep the present classes, since annotations may name them; otherwise only the new ones
        remain.

    Raises
    ------
    BadRequest
        A new class is named like the text that the label_config shows for a class that it keeps.
    """
    interface = LabellingInterface.parse(label_config)
    root: ET.Element = fromstring(label_config)
    control = next(c for c in root.iter("RectangleLabels") if c.get("name") == interface.from_name)
    if not keep:
        for parent in list(control.iter()):  # Labels may lie in Views, side by side
            for label in parent.findall("Label"):
                parent.remove(label)
    known = interface.classes if keep else ()
    new = [name for name in classes if name not in known]
    _require_unlike_shown(control, new)
    _add(control, new, len(known))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def label_config_of(classes: Sequence[str]) -> str:
    """Return a label_config that only draws boxes of these classes."""
    root = ET.Element("View")
    ET.SubElement(root, "Image", {"name": "image", "value": "$image"})
    control = ET.SubElement(root, "RectangleLabels", {"name": "label", "toName": "image"})
    _add(control, classes)
    return ET.tostring(root, encoding="unicode")


def _require_unlike_shown(control: ET.Element, classes: Sequence[str]) -> None:
    """Refuse classes that look like another: Label Studio shows values, but stores aliases."""
    for label in control.iter("Label"):
        alias, value = label.get("alias"), label.get("value", "")
        if alias and value in classes:
            raise BadRequest(
                f"The project's labels show the class {alias} as {value}, which no second class "
                f"can be called: name it with {map_option(value, alias)}, or write another "
                "value into that Label (Settings, Labeling Interface)."
            )


def _add(control: ET.Element, classes: Sequence[str], first: int = 0) -> None:
    """Add a label for each class; its colour starts ``first`` places into the palette."""
    for number, name in enumerate(classes, start=first):
        colour = COLOURS[number % len(COLOURS)]
        ET.SubElement(control, "Label", {"value": name, "background": colour})
