"""Whatever bytes come in from outside, tried at length: ``make fuzz MINUTES=10``."""
