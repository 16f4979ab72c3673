"""``make demo``: real orders through everything, on the private stack."""
