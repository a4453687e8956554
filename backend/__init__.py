"""The loop: Label Studio's protocol, the store, the jobs, and the command `cytoloop`."""
