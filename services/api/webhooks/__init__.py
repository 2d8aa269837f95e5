"""The door for upstream's webhooks."""
