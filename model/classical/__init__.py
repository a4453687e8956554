"""The detector that has learned nothing: thresholds and shapes."""
