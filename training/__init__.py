"""Training, methods against shortcut learning, and the measurement of source bias."""
