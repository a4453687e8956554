"""What a version is worth, whether it takes over, and what of it counts and is shown."""
