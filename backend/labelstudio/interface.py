"""Reads a label_config: which control draws boxes, on which image, of which classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from backend.errors import BadLabelConfig
from model.boxes import Box

WANTED = (
    "Cytoloop needs an <Image name=… value=…> and a <RectangleLabels toName=…> that names it and "
    "holds at least one <Label value=…>; add them in the project's Settings, Labeling Interface."
)


@dataclass(frozen=True)
class LabellingInterface:
    """The pair of tags that draw boxes.

    Parameters
    ----------
    from_name, to_name
        Names of the RectangleLabels and of its Image; every region carries both.
    data_key
        Key of ``task.data`` that holds the image's address.
    classes
        The name of each label in regions (its alias, or else its value), in the config's order.
    other_images
        Names of the config's other images, whose regions do not belong to this one.
    """

    from_name: str
    to_name: str
    data_key: str
    classes: tuple[str, ...]
    other_images: tuple[str, ...] = ()

    @classmethod
    def parse(cls, xml: str) -> LabellingInterface:
        """Read a label_config.

        Raises
        ------
        BadLabelConfig
            It is no XML, or has no Image and RectangleLabels that belong together.
        """
        root = _root(xml)
        images = {tag.get("name"): tag for tag in root.iter("Image")}
        for control in root.iter("RectangleLabels"):
            for name in (control.get("toName") or "").split(","):
                if (image := images.get(name.strip())) is not None:  # childless tags are falsy
                    others = tuple(each for each in images if each and images[each] is not image)
                    return replace(cls._of(control, image), other_images=others)
        raise BadLabelConfig(f"The label_config draws no boxes on an image. {WANTED}")

    def named(self, boxes: Sequence[Box], default_class: str) -> list[Box]:
        """Rename boxes for the page to show: a class that it lacks becomes the default."""
        return [
            box if box.label in self.classes else replace(box, label=default_class) for box in boxes
        ]

    @classmethod
    def _of(cls, control: Element, image: Element) -> LabellingInterface:
        names = [(tag, tag.get("name")) for tag in (control, image)]
        if any(not name for _, name in names):
            raise BadLabelConfig(f"A tag of the label_config has no name. {WANTED}")
        value = image.get("value") or ""
        if not value.startswith("$") or len(value) == 1:
            raise BadLabelConfig(f'The Image\'s value is "{value}", not "$" and a key. {WANTED}')
        classes = tuple(dict.fromkeys(_classes(control)))
        if not classes:
            raise BadLabelConfig(f"The RectangleLabels has no Label. {WANTED}")
        return cls(control.get("name", ""), image.get("name", ""), value[1:], classes)


def _root(xml: str) -> Element:
    try:
        root: Element = fromstring(xml)
    except (ParseError, DefusedXmlException, ValueError, TypeError) as error:
        raise BadLabelConfig(f"The label_config is no XML ({error}). {WANTED}") from error
    return root


def _classes(control: Element) -> Iterator[str]:
    for label in control.iter("Label"):
        if name := label.get("alias") or label.get("value"):
            yield name
