"""The read models made again from the topic, beside the living ones."""
