"""The public API is documented, and its examples do what they say."""

import doctest
import inspect
import re
import sys
from pathlib import Path

import pytest
import torch.nn as nn
from public import constructors, methods, public, raises_mistakes

import fairseq_lite

PUBLIC = public()
PAGES = sorted((Path(__file__).parents[2] / "docs" / "api").glob("*.md"))
SHAPE = re.compile(r"\[([A-Z]\w*|\.\.\.)(, [\w*' ]+)*\]")
# a paper, by its authors and year or by its number
SOURCE = re.compile(r"et al\.?,? \(?\d{4}|arXiv \d{4}\.\d+|arxiv\.org/abs/\d{4}\.\d+")
METHODS = "LSRA LinearAttention WindowedLinearAttention LightweightConv DynamicConv take_layers Pruner Scheme".split()
METHODS += "LayerMatching divergence count_mult_adds".split()
every_name = pytest.mark.parametrize("name", PUBLIC)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def unspoken(function, docstring):
    """The parameters of a function that a docstring does not name."""
    parameters = [name for name in inspect.signature(function).parameters if name != "self" and name[0] != "_"]
    return [name for name in parameters if not re.search(rf"\b{name}\b", docstring or "")]


def test_every_name_is_there_and_listed():
    assert set(fairseq_lite.__all__) <= set(dir(fairseq_lite))
    with pytest.raises(AttributeError, match="nothing"):
        _ = fairseq_lite.nothing
    namespace = {}
    exec("from fairseq_lite import *", namespace)
    assert set(fairseq_lite.__all__) <= set(namespace)


@every_name
def test_every_parameter_is_spoken_of(name):
    thing = PUBLIC[name]
    assert thing.__doc__
    if not (inspect.isclass(thing) and issubclass(thing, Exception)):
        assert not unspoken(thing, thing.__doc__)


@every_name
def test_methods_are_documented(name):
    own = methods(PUBLIC[name]) if inspect.isclass(PUBLIC[name]) else {}
    assert not [method for method in own if not inspect.getdoc(getattr(PUBLIC[name], method))]


@every_name
def test_modules_tell_their_shapes(name):
    thing = PUBLIC[name]
    if inspect.isclass(thing) and issubclass(thing, nn.Module):
        assert SHAPE.search(thing.forward.__doc__)
        assert not unspoken(thing.forward, thing.forward.__doc__)


@pytest.mark.parametrize("name", METHODS)
def test_methods_name_their_source(name):
    assert SOURCE.search(PUBLIC[name].__doc__)


@every_name
def test_what_is_raised_is_told(name):
    thing = PUBLIC[name]
    functions = constructors(thing) if inspect.isclass(thing) else [thing]
    if any(map(raises_mistakes, functions)):
        assert "Raises" in thing.__doc__
    own = methods(thing) if inspect.isclass(thing) else {}
    silent = [method for method, function in own.items() if "aise" not in (function.__doc__ or "")]
    assert not [method for method in silent if raises_mistakes(own[method])]


def test_without_onnx_all_but_exporting_works(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(fairseq_lite.UserError, match="the package onnx writes exported folders; pip install"):
        fairseq_lite.export_checkpoint("checkpoint.pt", "exported")


def test_a_mistake_is_found_behind_other_functions():
    assert raises_mistakes(fairseq_lite.load_model)
    assert not raises_mistakes(fairseq_lite.count_parameters)


@every_name
def test_examples_run(name, beside_files):
    example = doctest.DocTestParser().get_doctest(PUBLIC[name].__doc__, {}, name, None, 0)
    assert example.examples
    report = []
    doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert not report, "".join(report)


@every_page
def test_pages_run(page, beside_files):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
        exec(compile(block, page.name, "exec"), {"__name__": page.stem})


@every_name
def test_every_name_has_its_place_on_a_page(name):
    shown = [path.split(".")[-1] for page in PAGES for path in re.findall(r"^::: (\S+)$", page.read_text(), re.M)]
    assert shown.count(name) == 1


def test_the_first_page_lists_what_the_package_hands_on():
    (index,) = (page.read_text() for page in PAGES if page.stem == "index")
    assert set(fairseq_lite.__all__) <= set(re.findall(r"`(\w+)`", index))
    assert f"{len(fairseq_lite.__all__)} names" in index
