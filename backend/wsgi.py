"""For gunicorn: ``gunicorn --worker-class gthread --threads 8 backend.wsgi:app``, one process."""

from backend.app import create_app, poll

app = create_app()
poll(app)
