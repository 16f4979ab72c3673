"""Faults put into the code on purpose, each with the tests that have to notice."""
