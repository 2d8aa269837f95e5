"""A payment service that is played, for first looks, tests and measurements; its first modules are pure and seeded."""
