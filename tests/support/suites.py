"""Runs one test of a gateway's suite by hand, to see whether it fails."""

from itertools import product

import pytest


def failures(suite, name, gateway, service):
    """Return with how many of its parameters the test ``name`` of ``suite`` fails."""
    test = getattr(suite(), name)
    marks = [each for each in getattr(test, "pytestmark", []) if each.name == "parametrize"]
    failed = 0
    for values in product(*(mark.args[1] for mark in marks)):
        given = {}
        for mark, value in zip(marks, values, strict=True):
            names = [mark.args[0]] if isinstance(mark.args[0], str) else mark.args[0]
            given |= zip(names, [value] if isinstance(mark.args[0], str) else value, strict=True)
        try:
            test(gateway=gateway, service=service, **given)
        except (Exception, pytest.fail.Exception):  # also an error that the test did not expect
            failed += 1
    return failed
