"""The routes of the web process: Label Studio's protocol, the exports and the dashboard."""
