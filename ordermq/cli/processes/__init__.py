"""The processes that serve until they are stopped, and what all of them do: logs, health, signals."""
