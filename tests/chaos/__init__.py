"""Faults under load: ``python -m tests.chaos``. See docs/chaos.md."""
