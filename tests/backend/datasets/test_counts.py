from __future__ import annotations

from dataclasses import replace

from backend.datasets.counts import CountedImage, counts_csv
from model.boxes import Box


def test_counts_have_a_row_for_each_class_and_a_density_per_thousand_pixels() -> None:
    boxes = (Box(0, 0, 5, 5, "N"), Box(5, 5, 9, 9, "N"))
    seen = CountedImage("a.png", 100, 50, boxes, "corrected", "v1", "anna@lab", ("odd", "cut"))
    empty = CountedImage("b,c.png", 100, 50, (), "predicted", "v1")
    unknown = CountedImage("d.png", 100, 50, (), "none")
    assert counts_csv([seen, empty, unknown], ["N", "M"]).decode().splitlines() == [
        "image,class,source,count,low,high,density_per_1000_px,model_version,annotator,flags",
        "a.png,N,corrected,2,,,0.4,v1,anna@lab,odd; cut",
        "a.png,M,corrected,0,,,0,v1,anna@lab,odd; cut",
        '"b,c.png",N,predicted,0,,,0,v1,,',
        '"b,c.png",M,predicted,0,,,0,v1,,',
        "d.png,N,none,,,,,,,",
        "d.png,M,none,,,,,,,",
    ]


def test_a_predicted_count_has_the_range_of_its_class_where_enough_images_judged() -> None:
    judged = {"N": ((24, 29),) * 9, "M": ((24, 24),) * 8}
    boxes = tuple(Box(n, 0, n + 1, 5, "N") for n in range(24))
    predicted = CountedImage("a.png", 100, 50, boxes, "predicted", "v1", judged=judged)
    corrected = replace(predicted, source="corrected")
    rows = counts_csv([predicted, corrected], ["N", "M"]).decode().splitlines()[1:]
    assert [row.split(",")[3:6] for row in rows] == [
        ["24", "19", "29"],
        ["0", "", ""],
        ["24", "", ""],
        ["0", "", ""],
    ]
