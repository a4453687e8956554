import numpy as np
import pytest

from model.looking.tiling import cut_out, middle
from model.looking.vantage import vantage
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import prepare

HEIGHT, WIDTH, VIEW = 900, 1400, 400


def image_with(cells=(), bars=(), height=HEIGHT, width=WIDTH):
    """Noise, discs of 20 pixels about some places, and white bars of 200×20."""
    pixels = np.random.default_rng(0).normal(100, 8, (height, width))
    disc = np.hypot(*np.mgrid[-9:10, -9:10]) < 10
    for y, x in cells:
        pixels[y - 9 : y + 10, x - 9 : x + 10][disc] += 60
    for y, x in bars:
        pixels[y : y + 20, x : x + 200] = 255
    grey = np.clip(pixels, 0, 255).astype(np.uint8)
    return prepare(ImageRecord(grey, ""), ContrastGroups.none())


def about(y, x):
    return [(y + dy, x + dx) for dy in range(-90, 91, 45) for dx in range(-90, 91, 45)]


def shows(image, places, scale=1.0):
    """Say how many of the places lie in what is looked at."""
    tile = vantage(image, scale, VIEW)
    return sum(tile.top <= y < tile.bottom and tile.left <= x < tile.right for y, x in places)


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize(("y", "x"), [(100, 100), (100, 1290), (800, 700), (450, 250)])
def test_cells_away_from_an_empty_middle_are_looked_at(y, x, scale):
    cells = about(y, x)
    image = image_with(cells)
    seen = cut_out(image, vantage(image, scale, VIEW))
    assert (seen.height, seen.width) == (VIEW / scale, VIEW / scale)
    assert shows(image, cells, scale) >= 0.8 * len(cells)


def test_the_middle_is_looked_at_where_it_shows_about_as_much_as_elsewhere():
    everywhere = [(y, x) for y in range(40, HEIGHT, 60) for x in range(40, WIDTH, 60)]
    fewer = [*about(450, 700)[::2], *about(150, 150)]
    for image in (image_with(everywhere), image_with(fewer)):
        assert vantage(image, 1.0, VIEW) == middle(image, VIEW)


def test_a_scale_bar_and_a_speck_are_less_than_a_few_cells():
    cells = about(450, 700)
    image = image_with(cells[::3], bars=[(850, 1180), (20, 20)])
    assert vantage(image, 1.0, VIEW) == middle(image, VIEW)
    cells = about(120, 120)
    image = image_with(cells[::3], bars=[(850, 1180), (850, 20)])
    assert shows(image, cells[::3]) == len(cells[::3])


def test_an_image_no_larger_than_a_look_is_looked_at_whole():
    image = image_with(height=300, width=400)
    assert vantage(image, 1.0, VIEW).xyxy_px == (0, 0, 400, 300)


@pytest.mark.parametrize("sides", [(1, 2000), (2000, 1), (9, 2000), (450, 401)])
def test_an_image_of_any_shape_is_looked_at_within_its_borders(sides):
    image = image_with(height=sides[0], width=sides[1])
    tile = vantage(image, 1.0, VIEW)
    assert 0 <= tile.left < tile.right <= image.width
    assert 0 <= tile.top < tile.bottom <= image.height


def test_of_an_image_without_any_slope_the_middle_is_looked_at():
    flat = prepare(ImageRecord(np.full((900, 900), 7, np.uint8), ""), ContrastGroups.none())
    assert vantage(flat, 1.0, VIEW) == middle(flat, VIEW)
