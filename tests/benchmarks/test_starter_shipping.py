from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.sides import SETS
from benchmarks.starter import shipping
from benchmarks.starter.__main__ import WHOLE, how_to_ship


def test_the_command_is_told_that_ships_a_starter() -> None:
    asked = Namespace(out=Path("new starter"), only=[*SETS, WHOLE], parent="starter-4")
    assert how_to_ship(asked) == (
        "python -m benchmarks.starter.shipping 'new starter/full'"
        " --without 'new starter/no_{set}' --parent starter-4"
    )


def test_of_those_without_a_set_no_folder_is_told_that_was_not_made() -> None:
    told = how_to_ship(Namespace(out=Path("out"), only=[WHOLE], parent=None))
    assert told.endswith("shipping out/full --without 'FOLDER_OF_THOSE_WITHOUT_A_SET/no_{set}'")


def test_where_no_starter_is_shipped_none_is_exported_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipping, "is_shipped", lambda: False)
    monkeypatch.setattr("sys.argv", ["shipping"])
    with pytest.raises(SystemExit):
        shipping.main()
    assert "is shipped yet: name the folder of its training" in capsys.readouterr().err
