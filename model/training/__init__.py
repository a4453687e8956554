"""How a detector learns, and goes on from where it was cut off."""
