"""The metrics that the web process shows Prometheus at /metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

PREDICT_SECONDS = Histogram(
    "cytoloop_predict_seconds",
    "Time to answer one /predict, all its tasks together",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 100),
)
PREDICTIONS = Counter("cytoloop_predictions_total", "Predictions served")
TASKS_UNANSWERED = Counter(
    "cytoloop_tasks_unanswered_total", "Tasks answered with nothing, so that they are asked again"
)
WEBHOOK_EVENTS = Counter("cytoloop_webhook_events_total", "Webhook events", ["action", "outcome"])
LOADED_VERSION = Gauge(
    "cytoloop_loaded_version", "1 for the version that serves a project", ["project", "version"]
)
