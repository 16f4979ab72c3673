"""The migrations of the shop: its tables and functions."""
