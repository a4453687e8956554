"""Images and boxes in and out of Cytoloop as files: Pascal VOC, folders, exports, drawings."""
