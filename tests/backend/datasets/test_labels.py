from __future__ import annotations

import pytest

from backend.datasets.labels import label_config_of, with_classes
from backend.labelstudio.interface import LabellingInterface

ODD = ('A & "B"', "<C>", "Nucleus")


def classes_in(label_config: str) -> tuple[str, ...]:
    return LabellingInterface.parse(label_config).classes


def test_a_label_config_is_made_of_classes_whatever_they_are_called() -> None:
    assert classes_in(label_config_of(ODD)) == ODD


@pytest.mark.parametrize(
    ("keep", "left"), [(True, ("RBC", "WBC", "Platelets")), (False, ("WBC", "Platelets"))]
)
def test_classes_are_added_to_those_of_a_label_config_or_take_their_place(
    keep: bool, left: tuple[str, ...]
) -> None:
    before = label_config_of(("RBC", "WBC") if keep else ("RBC",))
    assert classes_in(with_classes(before, ("WBC", "Platelets"), keep)) == left
