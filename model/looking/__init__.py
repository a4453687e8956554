"""How a version looks at an image, whatever its detector is made of."""
