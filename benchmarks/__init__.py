"""What is measured, as commands that print it: `python -m benchmarks.NAME`."""
