"""For gunicorn: ``gunicorn --worker-class gthread --threads 8 backend.wsgi:app``, one process."""

from backend.app import create_app, watch

app = create_app()
watch(app)
