"""`cytoloop doctor`: what is wrong with an installation, and how to mend it.

Nothing is changed: no folder is made, no database migrated, nothing started. What it asks of Label
Studio is to save a project's title as it is, so that a webhook is sent.
"""
