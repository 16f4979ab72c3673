"""What ``make fuzz`` has kept, and what it begins with: no decoder lets any of it through unexpected."""

import pytest

from tests.fuzz import corpus
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_the_corpus_is_read_or_refused_as_its_decoder_says(name):
    inputs = [*seeds(name), *corpus.read(name)]
    assert len(inputs) <= corpus.MOST_INPUTS + 5
    for data in inputs:
        TARGETS[name](data)
