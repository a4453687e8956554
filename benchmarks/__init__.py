"""What is measured, as commands that print it: `python -m benchmarks.NAME`."""

from model.threads import wait_quietly

wait_quietly()  # as whatever trains does; before torch is loaded
