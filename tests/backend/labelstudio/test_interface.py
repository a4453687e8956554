from __future__ import annotations

from pathlib import Path

import pytest

from backend.errors import BadLabelConfig
from backend.labelstudio.interface import LabellingInterface

BOXES = '<RectangleLabels name="label" toName="image"><Label value="Cell"/></RectangleLabels>'
NAMELESS = '<RectangleLabels toName="image"><Label value="Cell"/></RectangleLabels>'
NOWHERE = '<RectangleLabels name="label"><Label value="Cell"/></RectangleLabels>'
IMAGE = '<Image name="image" value="$image"/>'


def test_the_shipped_label_config_draws_boxes_of_one_class_nucleus() -> None:
    shipped = Path(__file__).parents[3] / "label_config.xml"

    interface = LabellingInterface.parse(shipped.read_text("utf-8"))

    assert interface == LabellingInterface("label", "image", "image", ("Nucleus",))


def test_the_boxes_and_their_image_are_found_wherever_they_stand() -> None:
    xml = """<View><Header value="x"/><Image name="other" value="$other"/>
      <View style="display:flex"><Image name="field" value="$field"/>
      <Choices name="c" toName="field"><Choice value="blurred"/></Choices>
      <RectangleLabels name="cells" toName="field">
        <Label value="Healthy"/><View><Label value="Unhealthy" alias="sick"/></View>
        <Label value="Healthy"/>
      </RectangleLabels></View></View>"""

    interface = LabellingInterface.parse(xml)

    classes = ("Healthy", "sick")
    assert interface == LabellingInterface("cells", "field", "field", classes, ("other",))


def test_boxes_that_are_drawn_on_several_images_are_those_of_the_first_that_is_there() -> None:
    on_two = BOXES.replace('toName="image"', 'toName="gone, image, other"')
    xml = f'<View><Image name="other" value="$other"/>{IMAGE}{on_two}</View>'
    interface = LabellingInterface.parse(xml)
    assert (interface.to_name, interface.other_images) == ("image", ("other",))


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("", "no XML"),
        ("<View>", "no XML"),
        ("<View/>", "draws no boxes"),
        (f"<View>{IMAGE}</View>", "draws no boxes"),
        (f"<View>{BOXES}</View>", "draws no boxes"),
        (f'<View>{BOXES}<Image name="other" value="$image"/></View>', "draws no boxes"),
        (f'<View>{BOXES}<Image name="image" value="https://a/b.png"/></View>', "not"),
        (f'<View>{IMAGE}<RectangleLabels name="label" toName="image"/></View>', "no Label"),
        (f"<View>{IMAGE}{NAMELESS}</View>", "no name"),
        (f"<View>{IMAGE}{NOWHERE}</View>", "draws no boxes"),
        (f'<View>{BOXES}<Image name="image" value="$"/></View>', "and a key"),
    ],
)
def test_a_config_that_draws_no_boxes_is_refused_with_what_is_missing(xml: str, said: str) -> None:
    with pytest.raises(BadLabelConfig, match=said) as refused:
        LabellingInterface.parse(xml)

    assert "RectangleLabels" in str(refused.value)


def test_an_entity_bomb_is_refused() -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;">]><View>&c;</View>'

    with pytest.raises(BadLabelConfig, match="no XML"):
        LabellingInterface.parse(bomb)
