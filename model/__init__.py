"""What a detector is, learns and is worth.

May import `preprocessing`, never `backend`. `rcnn` and `training` alone import torch (a test holds
it), so that the web process and the worker's parent can use all the rest without it.
"""
