"""Where versions are kept, and which one serves."""
