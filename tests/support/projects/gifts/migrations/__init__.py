"""The tables of the gifts."""
