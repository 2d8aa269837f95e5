"""The SQL of answers, and what runs it."""
