"""What a process tells the outside: logs, metrics, health, traces, and its supervisor."""
