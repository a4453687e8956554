import pytest

from model.judging.strata import ContrastStrata, density_of


def test_each_stratum_has_a_third_of_the_images_that_set_it():
    contrasts = [number / 100 for number in range(30)]
    strata = ContrastStrata.of(contrasts)
    names = [strata.name(contrast) for contrast in contrasts]
    assert {name: names.count(name) for name in names} == {"low": 10, "medium": 10, "high": 10}


def test_any_contrast_has_a_stratum():
    strata = ContrastStrata.of([0.2, 0.3, 0.4])
    assert (strata.name(0.0), strata.name(1.0)) == ("low", "high")


def test_images_of_one_contrast_are_two_strata_at_the_most():
    strata = ContrastStrata.of([0.3] * 20)
    assert [strata.name(contrast) for contrast in (0.1, 0.3, 0.5)] == ["low", "high", "high"]


@pytest.mark.parametrize(
    ("cells", "name"),
    [(0, "under 20"), (19, "under 20"), (20, "20 to 60"), (60, "20 to 60"), (61, "over 60")],
)
def test_each_number_of_cells_has_the_class_that_its_name_says(cells, name):
    assert density_of(cells) == f"{name} cells"
