"""``python -m tests.fuzz.run TARGET ...``: Atheris on one target; its arguments are libFuzzer's."""

import sys

import atheris

with atheris.instrument_imports(include=["ordermq"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    # To merge, libFuzzer starts this again and again by a shell: this file alone is no program.
    sys.argv[0] = f"{sys.executable} -m {__spec__.name} {name}"
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
