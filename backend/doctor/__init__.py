"""`cytoloop doctor`: what is wrong with an installation, and how to mend it.

Nothing is changed: no folder is made, no database migrated, nothing started. The doctor only asks
Label Studio to save a project's title as it is, so that it sends a webhook.
"""
