"""What a detector is, learns and is worth.

May import `preprocessing`, never `backend`. Only `backbones`, `detector`, `export`, `graph`,
`training` and `weights` import torch, so that the web process and the worker's parent can use all
the rest without it.
"""
