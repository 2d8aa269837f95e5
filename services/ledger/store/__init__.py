"""The event store on one PostgreSQL session: `ports.Store`."""
