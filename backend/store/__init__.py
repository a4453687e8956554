"""What an installation knows: projects, images, corrections, the boxes served, the runs.

One class for each, over SQLAlchemy Core; SQLite by default, PostgreSQL by URL.
"""
