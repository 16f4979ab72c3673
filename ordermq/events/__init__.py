"""Events for other systems: what the active relay publishes, and how it is read. docs/events.md."""
