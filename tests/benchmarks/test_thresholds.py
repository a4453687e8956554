from __future__ import annotations

import numpy as np
import pytest

from benchmarks.generated import labelled_field
from benchmarks.thresholds import DRAWS, Remembering, drawn, judged
from model.classical.detector import ClassicalDetector, classical_version
from model.generated.fields import EASY
from model.judging.pairing import Pairs
from preprocessing.groups import ContrastGroups


def test_the_count_error_of_a_threshold_never_cancels_between_images() -> None:
    right = np.array([True, True, False, True])
    scores = np.array([0.9, 0.8, 0.6, 0.3], np.float32)
    pairs = Pairs(scores, right, np.array([0, 0, 0, 1]), np.array([2, 2]))
    assert judged(pairs, 0.5) == (pytest.approx(3 / 4), pytest.approx(4 / 7))
    assert judged(pairs, 0.7) == (pytest.approx(2 / 4), pytest.approx(4 / 6))


def test_an_image_is_looked_at_once_and_all_inner_images_are_one_draw(tmp_path) -> None:
    fields = [labelled_field(tmp_path, seed, (96, 128), 5, EASY) for seed in (1, 2)]
    looking = Remembering(classical_version(), ContrastGroups.none(), ClassicalDetector())
    first = looking.find([fields[0].read()])
    assert looking.find([fields[0].read()])[0] is first[0]
    assert len(drawn(fields, 2)) == 1
    assert len(drawn(fields, 1)) == DRAWS
