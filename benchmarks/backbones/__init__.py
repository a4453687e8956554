"""Backbones side by side: accuracy after equal time, CPU time, training step, size."""
