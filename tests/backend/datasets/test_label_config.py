from __future__ import annotations

import pytest

from backend.datasets.label_config import label_config_of, with_classes
from backend.errors import BadRequest
from backend.labelstudio.interface import LabellingInterface

ODD = ('A & "B"', "<C>", "Nucleus")


def classes_in(label_config: str) -> tuple[str, ...]:
    return LabellingInterface.parse(label_config).classes


def test_a_label_config_is_made_of_classes_whatever_they_are_called() -> None:
    made = label_config_of(ODD)
    assert classes_in(made) == ODD
    assert '<Label value="Nucleus" ' in made


def test_classes_go_to_the_labels_that_draw_on_the_image_and_to_no_others() -> None:
    others = '<RectangleLabels name="odd" toName="gone"><Label value="Odd"/></RectangleLabels>'
    made = with_classes(NESTED.replace("<View>", f"<View>{others}", 1), ("WBC",), keep=False)
    assert classes_in(made) == ("WBC",)
    assert '<Label value="Odd" />' in made


@pytest.mark.parametrize(
    ("keep", "left"), [(True, ("RBC", "WBC", "Platelets")), (False, ("WBC", "Platelets"))]
)
def test_classes_are_added_to_those_of_a_label_config_or_take_their_place(
    keep: bool, left: tuple[str, ...]
) -> None:
    before = label_config_of(("RBC", "WBC") if keep else ("RBC",))
    assert classes_in(with_classes(before, ("WBC", "Platelets"), keep)) == left


NESTED = """
<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
    <View style="columns: 2"><Label value="RBC"/><View><Label value="WBC"/></View></View>
    <Label value="Platelets" alias="platelet"/>
  </RectangleLabels>
</View>
"""


@pytest.mark.parametrize(
    ("keep", "left"), [(True, ("RBC", "WBC", "platelet", "Other")), (False, ("WBC", "Other"))]
)
def test_labels_that_lie_in_views_are_kept_or_give_way_too(
    keep: bool, left: tuple[str, ...]
) -> None:
    assert classes_in(with_classes(NESTED, ("WBC", "Other"), keep)) == left


def test_a_class_that_would_look_like_another_is_refused() -> None:
    with pytest.raises(BadRequest, match="--map Platelets=platelet"):
        with_classes(NESTED, ("RBC", "Platelets"), keep=True)
    assert classes_in(with_classes(NESTED, ("RBC", "Platelets"), keep=False)) == (
        "RBC",
        "Platelets",
    )
