"""The consumer process: takes deliveries, runs handlers, settles what they decide."""
