"""Plays an annotator with known truth, to measure what the loop would have cost a person."""
