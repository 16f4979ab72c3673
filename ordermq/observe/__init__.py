"""What a process reports: logs, metrics, health, traces, and its state to systemd."""
