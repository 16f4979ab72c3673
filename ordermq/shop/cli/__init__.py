"""The shop's commands: orders, stock and order files."""
