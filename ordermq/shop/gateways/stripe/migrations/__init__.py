"""The tables of the Stripe adapter."""
