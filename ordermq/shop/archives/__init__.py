"""The archive: events of orders at rest in files that can be verified and restored."""
