"""Label Studio's label_config, its regions in percent, and its API."""
