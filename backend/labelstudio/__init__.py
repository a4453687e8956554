"""What Label Studio speaks: its label_config, its regions in percent, and its API."""
