"""Does matching help, and which form of it? `python -m benchmarks.contrast --help`."""
