"""The requirements of the extras can be read by every pip."""

from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement


@pytest.mark.parametrize("line", requires("fairseq-lite"))
def test_versions_are_numbers(line):
    # older releases of pip cannot parse a version after === beside a marker
    assert "===" not in [specifier.operator for specifier in Requirement(line).specifier]
