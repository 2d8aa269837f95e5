"""Kafka without groups: `ports.Broker`."""
