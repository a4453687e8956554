"""From a snapshot to a candidate in the registry.

Importing this imports no torch; making a candidate does.
"""
