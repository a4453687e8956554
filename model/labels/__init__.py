"""Labelled images: their boxes and sides, boxes that look odd, images of one field."""
