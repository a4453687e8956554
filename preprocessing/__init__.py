"""From a microscope's file to the pixels that a detector sees: arrays in, arrays out.

No torch, no HTTP, no database: `model` and `backend` stand on this package, never the reverse.
"""
