"""What an installation knows: projects, images, corrections, served boxes, runs.

One class for each, over SQLAlchemy Core; SQLite by default, PostgreSQL by URL.
"""
