"""Writing an ONNX graph by calls: one method call a node, named values as strings."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple, Union

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Value = str
OPSET = 21
# a contributed operator of onnxruntime lives in this domain
CONTRIB = "com.microsoft"
DOMAINS = {"": OPSET, CONTRIB: 1}
# Rows that x has in a product of a whole sentence: most sentences have more words.
SENTENCE_ROWS = 8

TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int8): TensorProto.INT8,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.bool_): TensorProto.BOOL,
}


class Graph:
    """A graph, or a loop's body, that grows by calls; a body sees the values of the graphs around it.

    Args:
        outer: the graph whose loop this is the body of
        home: the graph that keeps this body's weights, by default itself. onnxruntime packs a weight for its
            kernels only in the graph that owns it and in that graph's bodies, not two loops further in
        rows: how many x has at least in most products of this graph, which chooses their kernels; by default as in the
            graph around, and a short sentence's in the outermost
    """

    def __init__(
        self, name: str, outer: Optional[Graph] = None, home: Optional[Graph] = None, rows: Optional[int] = None
    ):
        self.name = name
        self.outer = outer
        self.home = home or self
        self.rows: int = rows or (outer.rows if outer else SENTENCE_ROWS)
        self.nodes: List[onnx.NodeProto] = []
        self.inputs: List[onnx.ValueInfoProto] = []
        self.outputs: List[onnx.ValueInfoProto] = []
        self.initializers: Dict[Value, onnx.TensorProto] = {}
        self._constants: Dict[Tuple, Value] = {}
        self._derived: Dict[Tuple, Value] = {}
        self._numbers = outer._numbers if outer else itertools.count()
        # the kinds of all nodes, bodies included
        self.operators: Set[str] = outer.operators if outer else set()

    def fresh(self, hint: str) -> Value:
        """A name that no other value of the model has."""
        return f"{hint}_{next(self._numbers)}"

    def op(self, kind: str, *inputs: Optional[Value], outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add a node and return its output's name, or a tuple of names where it has several."""
        names = [self.fresh(kind) for _ in range(outputs)]
        self.operators.add(kind)
        given = ["" if name is None else name for name in inputs]
        self.nodes.append(helper.make_node(kind, given, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def constant(self, value: Any, dtype: Optional[type] = None) -> Value:
        """A small constant, stored once a graph; Python numbers become float32 or int64."""
        array = np.asarray(value, dtype)
        if dtype is None and array.dtype == np.float64:
            array = array.astype(np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.fresh("constant")
            self.initializers[self._constants[key]] = numpy_helper.from_array(array, self._constants[key])
        return self._constants[key]

    def weight(self, name: str, array: np.ndarray) -> Value:
        """A weight, kept in the home graph under its own name and stored once however often it is asked for.

        One that a graph further out keeps is that one's.
        """
        if not self.keeps(name):
            self.home.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def keeps(self, name: str) -> bool:
        """Whether this graph or one around it has a weight of this name."""
        return name in self.initializers or self.outer is not None and self.outer.keeps(name)

    def derived(self, key: Tuple, write: Callable[[Graph], Value]) -> Value:
        """What nodes in the home graph make of weights alone; onnxruntime computes it once, when it loads the model.

        Args:
            key: what the value is; asked for a second time, the first one is returned
            write: writes the nodes into the home graph and returns their value
        """
        if key not in self.home._derived:
            self.home._derived[key] = write(self.home)
        return self.home._derived[key]

    def reshape(self, x: Value, *sizes: Union[int, Value]) -> Value:
        """x in a new shape of numbers, of which one may be -1, and of values, int64: [n]."""
        return self.op("Reshape", x, self.shape(*sizes))

    def shape(self, *sizes: Union[int, Value]) -> Value:
        """A shape of numbers and of values, int64: [n], written once a graph."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(list(sizes))
        key = ("shape", *sizes)
        if key not in self._derived:
            parts = [self.constant([size]) if isinstance(size, int) else size for size in sizes]
            self._derived[key] = self.op("Concat", *parts, axis=0)
        return self._derived[key]

    def input(self, name: str, dtype: type, shape: Sequence, default: Any = None) -> Value:
        """Declare an input; one with a default may be left out when the model runs."""
        self.inputs.append(helper.make_tensor_value_info(name, TYPES[np.dtype(dtype)], list(shape)))
        if default is not None:
            self.initializers[name] = numpy_helper.from_array(np.asarray(default, dtype), name)
        return name

    def output(self, name: str, value: Value, dtype: type, shape: Sequence) -> None:
        """Hand a value out under a name of its own."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TYPES[np.dtype(dtype)], list(shape)))

    def result(self, value: Value, dtype: type, shape: Sequence) -> None:
        """Hand a value out of a loop's or a branch's body, whose outputs go by their order.

        A value that a node of this graph makes is handed out itself: an Identity would copy it every turn.
        """
        made_here = any(value in node.output for node in self.nodes)
        if not made_here or any(value == output.name for output in self.outputs):
            value = self.op("Identity", value)
        self.outputs.append(helper.make_tensor_value_info(value, TYPES[np.dtype(dtype)], list(shape)))

    def body(self, name: str, home: Optional[Graph] = None, rows: Optional[int] = None) -> Graph:
        """A graph for a loop or a branch in this one."""
        return Graph(name, outer=self, home=home, rows=rows)

    def loop(
        self,
        body: Graph,
        go_on: Value,
        states: Sequence[Tuple[Value, type, Sequence]],
        write: Callable[[Graph, Value, List[Value]], Tuple[Value, List[Value]]],
    ) -> List[Value]:
        """Add a loop that runs while a condition holds, and return its last states.

        Args:
            go_on: whether to run at all, bool: []
            states: (value, dtype, shape) of each state before the first turn
            write: writes one turn into the body: (body, number of the turn, states) -> (go on, new states)
        """
        turn = body.input(body.fresh("turn"), np.int64, [])
        body.input(body.fresh("go_on"), np.bool_, [])
        names = [body.input(body.fresh("state"), dtype, shape) for _, dtype, shape in states]
        condition, after = write(body, turn, names)
        body.result(condition, np.bool_, [])
        for value, (_, dtype, shape) in zip(after, states):
            body.result(value, dtype, shape)
        last = self.op("Loop", None, go_on, *(value for value, _, _ in states), outputs=len(states), body=body.proto())
        return [last] if len(states) == 1 else list(last)

    def branch(self, condition: Value, then: Graph, otherwise: Graph) -> Any:
        """Add an If over two bodies with the same outputs."""
        outputs = len(then.outputs)
        return self.op("If", condition, outputs=outputs, then_branch=then.proto(), else_branch=otherwise.proto())

    def proto(self) -> onnx.GraphProto:
        """The graph as onnx keeps it."""
        return helper.make_graph(
            self.nodes, self.name, self.inputs, self.outputs, initializer=list(self.initializers.values())
        )

    def model(self, metadata: Dict[str, str]) -> onnx.ModelProto:
        """The whole model, with metadata for whoever opens the file."""
        used = {node.domain for node in _all_nodes(self.proto())}
        model = helper.make_model(
            self.proto(),
            producer_name="fairseq_lite",
            opset_imports=[helper.make_opsetid(domain, DOMAINS[domain]) for domain in sorted(used | {""})],
            ir_version=10,
        )
        helper.set_model_props(model, metadata)
        return model


def _all_nodes(graph: onnx.GraphProto):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)
