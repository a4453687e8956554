"""The annotator sees the matched image beside the raw one, in Label Studio's own page."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from model.generated.fields import HARD, generate_field

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WIDTH, HEIGHT = 192, 160
TWO_IMAGES = """
<View style="display: flex; gap: 1em">
  <View style="flex: 1"><Image name="image" value="$image" canRotate="false"/></View>
  <View style="flex: 1"><Image name="matched" value="$matched" canRotate="false"/></View>
  <RectangleLabels name="label" toName="image"><Label value="Nucleus"/></RectangleLabels>
</View>"""
#: The natural sizes of the images on the page; 0 × 0 for one that could not be shown.
SIZES = "[...document.images].map(i => [i.src, i.naturalWidth, i.naturalHeight])"


def test_a_second_image_of_the_label_config_shows_the_matched_one(
    make_loop, make_editor, wait, artifacts, tmp_path
):
    folder = tmp_path / "slides"
    folder.mkdir()
    pixels = generate_field(1, (HEIGHT, WIDTH), 12, HARD).pixels
    tifffile.imwrite(folder / "slide.tif", pixels.astype(np.uint16) * 100)
    loop = make_loop()
    loop.up("--images", str(folder))
    loop.label_studio.patch_project(1, label_config=TWO_IMAGES)
    (task,) = loop.label_studio.tasks(1)

    editor = make_editor(loop)
    editor.log_in()
    answers = []
    editor.page.on("response", lambda r: answers.append(r) if "matched.png" in r.url else None)
    editor.open(1, task["id"])
    wait(lambda: sum(size[1:] == [WIDTH, HEIGHT] for size in editor.page.evaluate(SIZES)) >= 2, 60)
    editor.page.screenshot(path=artifacts / "matched-image.png")
    assert {answer.status for answer in answers} <= {200, 304}
    assert answers
    assert answers[0].url == task["data"]["matched"]
    served = loop.label_studio.task(task["id"])["predictions"][0]["result"]
    assert {region["to_name"] for region in served} == {"image"}
