"""``python -m tests.fuzz.run TARGET ...``: Atheris on one target; its arguments are libFuzzer's."""

import sys

import atheris

with atheris.instrument_imports(include=["ordermq"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
