from __future__ import annotations

from model.classical.detector import classical_version
from model.keeping.pruning import removable, superfluous
from model.versions import ModelVersion


def made(*parents, project="1"):
    """Trained versions a, b, c … in order of age, each with its parent."""
    return [
        ModelVersion(name, "trained", ("Cell",), 0.5, project=project, parent=parent)
        for name, parent in zip("abcdefg", parents, strict=False)
    ]


def ids(versions):
    return "".join(version.id for version in versions)


def test_what_never_served_goes_but_for_the_newest():
    versions = made(None, None, None, None, None)
    assert ids(superfluous(versions, {"b"}, newest=2)) == "ac"
    assert ids(superfluous(versions, {"b"}, newest=0)) == "acde"
    assert superfluous(versions, set(), newest=9) == []


def test_what_a_kept_version_was_trained_from_stays():
    versions = made(None, "a", "b", None)
    assert ids(superfluous(versions, {"c"}, newest=0)) == "d"


def test_what_an_unfinished_run_works_with_stays():
    assert ids(superfluous(made(None, None), set(), newest=0, needed={"a"})) == "b"


def test_each_project_keeps_its_own_newest():
    other = [ModelVersion("x", "trained", ("Cell",), 0.5, project="2")]
    assert ids(superfluous([*other, *made(None, None)], set(), newest=1)) == "a"


def test_what_was_trained_for_no_project_goes_where_it_is_chosen_alone():
    versions = made(None, "a", "b", project=None)
    assert superfluous(versions, set(), newest=0) == []
    assert ids(removable(versions, "ab", ())) == ""
    assert ids(removable(versions, "bc", ())) == "bc"
    assert ids(removable(versions, "abc", "b")) == "c"


def test_versions_that_were_not_trained_here_stay():
    starter = ModelVersion("starter", "starter", (), 0.5)
    assert superfluous([classical_version(), starter], set(), newest=0) == []
    assert removable([starter], {"starter"}, ()) == []
