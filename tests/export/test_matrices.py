"""Matrices of few bits: near the ones they stand for, the same for one row as for many, as small as they should be."""

import numpy as np
import onnx
import pytest
from exported import session_of

from fairseq_lite.export import matrices
from fairseq_lite.export.affines import Matrix
from fairseq_lite.export.blocks import BLOCK
from fairseq_lite.export.graph import CONTRIB, SENTENCE_ROWS, Graph
from fairseq_lite.export.matrices import LARGE
from fairseq_lite.export.model import matrices_of

WAYS = [(32, False), (8, False), (4, False), (4, True)]
every_way = pytest.mark.parametrize("bits, portable", WAYS)
# relative error of the result that a product of random numbers may have
ERRORS = {32: 1e-6, 8: 0.02, 4: 0.15}
SHAPES = {"small": (40, 50), "large": (600, 250), "whole blocks": (512, 288)}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def random(*shape):
    return np.random.default_rng(4).standard_normal(shape).astype(np.float32)


def tied(weight, bits, portable):
    """A graph that reads rows of a matrix outside of a loop, and multiplies with it two loops further in."""
    way = matrices_of(bits, portable)
    g = Graph("tied")
    x = g.input("x", np.float32, ["N", weight.shape[1]])
    ids = g.input("ids", np.int64, ["M"])
    g.output("rows", way.rows(g, ids, Matrix("weight", weight)), np.float32, ["M", weight.shape[1]])
    bias = np.arange(len(weight), dtype=np.float32) / len(weight)

    def once(write):
        return lambda body, turn, states: (body.constant(False), [write(body, states[0])])

    def inner(body, state):
        y = way.product(body, x, [Matrix("weight", weight)], body.weight("bias", bias))
        return body.op("Add", state, y)

    def outer(body, state):
        return body.loop(
            body.body("inner", home=body), body.constant(True), [(state, np.float32, [None] * 2)], once(inner)
        )[0]

    zeros = g.constant(np.zeros((1, 1), np.float32))
    (y,) = g.loop(g.body("outer"), g.constant(True), [(zeros, np.float32, [None] * 2)], once(outer))
    g.output("y", y, np.float32, ["N", len(weight)])
    return g.model({}), bias


@every_shape
@every_way
def test_rows_and_products_are_near_those_of_the_matrix(bits, portable, shape):
    weight, x, ids = random(*shape), random(9, shape[1]), np.array([3, 0, shape[0] - 1])
    model, bias = tied(weight, bits, portable)
    rows, y = session_of(model).run(None, {"x": x, "ids": ids})
    for found, wanted in ((rows, weight[ids]), (y, x @ weight.T + bias)):
        assert np.linalg.norm(found - wanted) <= ERRORS[bits] * np.linalg.norm(wanted)


@every_shape
@every_way
def test_rows_times_a_factor(bits, portable, shape):
    g, ids = Graph("factor"), np.array([3, 0, shape[0] - 1])
    way, weight = matrices_of(bits, portable), Matrix("weight", random(*shape))
    for name, factor in (("rows", 1.0), ("times", 2.5)):
        rows = way.rows(g, g.constant(ids), weight, factor)
        g.output(name, rows, np.float32, [3, shape[1]])
    rows, times = session_of(g.model({})).run(None, {})
    np.testing.assert_allclose(times, 2.5 * rows, rtol=1e-5)


@every_shape
@every_way
def test_a_row_alone_equals_the_row_among_others(bits, portable, shape):
    model, _ = tied(random(*shape), bits, portable)
    session = session_of(model)
    x, ids = random(33, shape[1]) * np.linspace(0, 1, 33, dtype=np.float32)[:, None], np.array([1])
    together = session.run(["y"], {"x": x, "ids": ids})[0]
    alone = [session.run(["y"], {"x": row[None], "ids": ids})[0][0] for row in x]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=3e-5)


@every_shape
@every_way
def test_a_matrix_is_stored_once_in_its_bits(bits, portable, shape):
    model, bias = tied(random(*shape), bits, portable)
    out, width = shape
    blocks = -(-width // BLOCK)
    bytes_of = {32: 4 * out * width, 8: out * (width + 4), 4: out * blocks * (BLOCK // 2 + 2)}
    rest = bias.nbytes + 3000
    assert bytes_of[bits] < len(model.SerializeToString()) < bytes_of[bits] + rest + 1500


@every_shape
@every_way
def test_a_product_goes_through_a_relu_first(bits, portable, shape):
    weight, x = random(*shape), random(9, shape[1])
    x[3] = -np.abs(x[3])
    g = Graph("relu", rows=SENTENCE_ROWS)
    y = matrices_of(bits, portable).product(
        g, g.input("x", np.float32, ["N", shape[1]]), [Matrix("weight", weight)], None, relu=True
    )
    g.output("y", y, np.float32, ["N", len(weight)])
    session = session_of(g.model({}))
    found, wanted = session.run(None, {"x": x})[0], np.maximum(x, 0) @ weight.T
    assert np.linalg.norm(found - wanted) <= ERRORS[bits] * np.linalg.norm(wanted)
    assert not found[3].any()
    np.testing.assert_allclose([session.run(None, {"x": row[None]})[0][0] for row in x], found, rtol=1e-5, atol=3e-5)


@every_way
def test_a_portable_graph_has_standard_operators_alone(bits, portable):
    model, _ = tied(random(600, 250), bits, portable)
    domains = {opset.domain for opset in model.opset_import}
    assert domains == ({"", CONTRIB} if (bits, portable) == (4, False) else {""})
    onnx.checker.check_model(model)


def product_graph(bits, rows, weight):
    """A graph for so many rows, with the product with a matrix and that with its rows 3, 0 and 7."""
    way, matrix = matrices_of(bits, False), Matrix("weight", weight)
    g = Graph("product", rows=rows)
    x = g.input("x", np.float32, ["N", weight.shape[1]])
    g.output("whole", way.product(g, x, [matrix], None), np.float32, ["N", len(weight)])
    some = way.product_of_rows(g, g.constant([3, 0, 7]), matrix)
    g.output("some", some(g, x), np.float32, ["N", 3])
    return g


ROWS = {"one row": 1, "a beam": 4, "a sentence": SENTENCE_ROWS}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("bits", [32, 8, 4])
def test_a_product_with_some_rows_has_those_columns_of_the_whole_product(bits, rows):
    weight, x = random(600, 250), random(9, 250)
    whole, some = session_of(product_graph(bits, rows, weight).model({})).run(None, {"x": x})
    for found in (whole[:, [3, 0, 7]], some):
        wanted = x @ weight[[3, 0, 7]].T
        assert np.linalg.norm(found - wanted) <= ERRORS[bits] * np.linalg.norm(wanted)


def test_a_product_is_in_integers_where_its_rows_are_worth_it():
    """Where so many rows come together that the operators beside the product do not count."""
    operators = {
        (bits, rows, size): product_graph(bits, rows, random(size, 256)).operators & {"MatMulInteger", "MatMulNBits"}
        for bits in (8, 4)
        for rows in ROWS.values()
        for size in (64, 128, 512)
    }
    integers, blocks = {"MatMulInteger"}, {"MatMulNBits"}
    assert [operators[8, 1, size] for size in (64, 128, 512)] == [set(), set(), integers]
    assert [operators[8, 4, size] for size in (64, 128, 512)] == [set(), integers, integers]
    assert [operators[8, SENTENCE_ROWS, size] for size in (64, 128, 512)] == [integers] * 3
    assert [operators[4, 1, size] for size in (64, 128, 512)] == [blocks] * 3
    for rows, kind in ((4, blocks), (SENTENCE_ROWS, integers)):
        assert [operators[4, rows, size] for size in (64, 128, 512)] == [set(), set(), kind]


def test_one_threshold_makes_all_products_large(monkeypatch):
    """What the tests of whole models lower, so that tiny ones are multiplied as large ones are."""
    monkeypatch.setattr(matrices, "LARGE", 1)
    operators = {
        (bits, rows): product_graph(bits, rows, random(8, 256)).operators for bits in (8, 4) for rows in ROWS.values()
    }
    assert all("Gemm" not in found for found in operators.values())
    assert all("MatMulInteger" in operators[8, rows] for rows in ROWS.values())
    assert all("MatMulNBits" in operators[4, rows] for rows in (1, 4))


def test_portable_decodes_the_same_matrix():
    weight = random(600, 250)
    rows = [
        session_of(tied(weight, 4, portable)[0]).run(["rows"], {"x": weight[:1], "ids": np.arange(600)})[0]
        for portable in (False, True)
    ]
    np.testing.assert_allclose(*rows, rtol=1e-6, atol=0)


@every_shape
@pytest.mark.parametrize("bits, portable", [(8, False), (4, False), (4, True)])
def test_a_matrix_of_few_values_keeps_them_and_stays_small(bits, portable, shape):
    weight, x = random(16)[np.random.default_rng(1).integers(0, 16, shape)], random(9, shape[1])
    model, bias = tied(weight, bits, portable)
    rows, y = session_of(model).run(["rows", "y"], {"x": x, "ids": np.arange(shape[0])})
    in_integers = weight.size >= LARGE and not portable
    np.testing.assert_allclose(rows, weight, rtol=0, atol=np.abs(weight).max() / 254 + 1e-6 if in_integers else 0)
    product = x @ weight.T
    assert np.linalg.norm(y - bias - product) <= ERRORS[8 if in_integers else 32] * np.linalg.norm(product)
    assert len(model.SerializeToString()) < shape[0] * -(-shape[1] // 2) + bias.nbytes + 4500


@pytest.mark.parametrize("bits", [8, 4])
def test_a_matrix_of_few_values_beside_another(bits):
    """Both in one product, and the first one's rows read too."""
    few, other, x = random(16)[np.random.default_rng(1).integers(0, 16, (600, 250))], random(600, 250), random(9, 250)
    way, matrices = matrices_of(bits, False), (Matrix("few", few), Matrix("other", other))
    g = Graph("both")
    rows = way.rows(g, g.input("ids", np.int64, ["M"]), matrices[0])
    y = way.product(g, g.input("x", np.float32, ["N", 250]), matrices, g.weight("bias", np.zeros(1200, np.float32)))
    g.output("rows", rows, np.float32, ["M", 250])
    g.output("y", y, np.float32, ["N", 1200])
    rows, y = session_of(g.model({})).run(None, {"ids": np.arange(600), "x": x})
    np.testing.assert_allclose(rows, few, rtol=0, atol=np.abs(few).max() / 254 + 1e-6)
    for found, weight in zip(np.split(y, 2, axis=1), (few, other)):
        assert np.linalg.norm(found - x @ weight.T) <= ERRORS[bits] * np.linalg.norm(x @ weight.T)


def test_extreme_products_of_8_bits_do_not_overflow():
    """All entries at the ends of their range, where sums of int8 overflow on some processors."""
    weight = np.sign(random(512, 512))
    x = np.sign(random(4, 512))
    model, bias = tied(weight, 8, False)
    assert weight.size >= LARGE
    y = session_of(model).run(["y"], {"x": x, "ids": np.array([0])})[0]
    np.testing.assert_allclose(y, x @ weight.T + bias, rtol=1e-4, atol=1e-3)
    g = Graph("relu")
    y = matrices_of(8, False).product(g, g.input("x", np.float32, x.shape), [Matrix("weight", weight)], None, relu=True)
    g.output("y", y, np.float32, [4, 512])
    y = session_of(g.model({})).run(None, {"x": x})[0]
    np.testing.assert_allclose(y, np.maximum(x, 0) @ weight.T, rtol=1e-4, atol=1e-3)
