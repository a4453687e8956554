"""One machine, one terminal: the processes of `cytoloop up`, their addresses and their projects."""
