"""The Faster R-CNN, the two engines that run it, and the file that one of them takes."""
