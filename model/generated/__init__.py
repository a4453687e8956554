"""Generated fields of cells, with exact truth."""
