import sys

import pytest

from fairseq_lite.compat import require_fairseq


def test_without_fairseq_the_extras_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fairseq", None)
    with pytest.raises(ImportError, match=r"\[ve\].*\[fixed\].*\[legacy\]"):
        require_fairseq()
