"""What a detector is, learns and is worth.

May import `preprocessing`, never `backend`. Few files import torch (ARCHITECTURE.md names them, a
test holds it), so that the web process and the worker's parent can use all the rest without it.
"""
