"""Tables in Markdown."""

from collections.abc import Sequence


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join([head_of(heads), *map(row_of, rows)])


def head_of(heads: Sequence[str]) -> str:
    """Return the first two lines of a table."""
    return f"{row_of(heads)}\n{row_of(['---'] * len(heads))}"


def row_of(cells: Sequence[str]) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"
