"""The thesis' models 03 to 06 beside ours, on the same images and for the same time."""
