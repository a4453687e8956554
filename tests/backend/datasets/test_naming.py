from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.datasets.naming import UniqueNames
from backend.datasets.voc import read_voc, write_voc


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.png", "a.tif", "b.png"], ["a", "a-2", "b"]),
        (["A.png", "a.png"], ["A", "a-2"]),
        (["a-2.png", "a.png", "a.tif"], ["a-2", "a", "a-3"]),
        (["../../etc/passwd.png", "C:\\x\\y.tif"], ["passwd", "y"]),
        (["a.png", "a-2.png", "A.png", "a.tif"], ["a", "a-2", "A-3", "a-4"]),
        (["a.png", "a.png", "a-2.png", "a-2.png"], ["a", "a-2", "a-2-2", "a-2-3"]),
        (["..", "", "what?.png"], ["image", "image-2", "what_"]),
        (["\u00e4.png", "a\u0308.png"], ["\u00e4", "a\u0308-2"]),
        (["b" * 245 + ".png", "b" * 244 + ".tif"], ["b" * 200, "b" * 200 + "-2"]),
        (["细" * 80 + ".png", "x" + "细" * 80 + ".png"], ["细" * 66, "x" + "细" * 66]),
    ],
)
def test_every_image_gets_a_safe_stem_of_its_own(names: list[str], stems: list[str]) -> None:
    unique = UniqueNames()
    assert [unique.stem(name) for name in names] == stems


def test_a_name_that_only_this_process_reads_otherwise_is_not_told_to_be_no_utf8() -> None:
    told = (
        "from backend.datasets.naming import *; print(*map(why_unwritable, sys.argv[1:]), sep='|')"
    )
    words = [sys.executable, "-c", f"import sys; {told}", "Zähler.png", b"Pr\xfcfung.png"]
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    said = subprocess.run(words, env=plain, capture_output=True, text=True, check=True).stdout
    assert said.strip().split("|") == [
        "names are not read as UTF-8 here: set PYTHONUTF8=1",
        "its name is no UTF-8: rename it",
    ]


def test_a_voc_file_is_read_whatever_is_in_the_name_that_its_image_had(tmp_path: Path) -> None:
    unique = UniqueNames()
    for point in (*range(1, 0xA1), 0x2028, 0xFEFF, 0xFFFE, 0xFFFF, 0x1F9EC):
        name = f"{unique.stem(f'a{chr(point)}b.png')}.png"
        write_voc(tmp_path / "a.xml", name, 8, 8, 1, [])
        assert read_voc(tmp_path / "a.xml").name == name


def test_many_images_of_one_name_are_numbered_without_each_number_being_tried_anew() -> None:
    unique, tried = UniqueNames(), []

    class Watched(set[str]):
        def __contains__(self, key: object) -> bool:
            tried.append(key)
            return super().__contains__(key)

    unique._taken = Watched()
    assert [unique.stem("a.png") for _ in range(500)][-1] == "a-500"
    assert len(tried) < 1500
