"""The multiply-adds of each traced operator: fvcore's handlers, our own, and what is free.

A handler takes the traced inputs and outputs of an operator and returns its multiply-adds. An
operator in neither table is an error when a model is counted, so none is free by oversight.
"""

from math import prod

from fvcore.nn.jit_handles import (
    addmm_flop_jit,
    bmm_flop_jit,
    conv_flop_jit,
    get_shape,
    linear_flop_jit,
    matmul_flop_jit,
)

from fairseq_lite.errors import UserError


def baddbmm(inputs, outputs):
    """bias + [N, L, D] x [N, D, S]."""
    return bmm_flop_jit(inputs[1:3], outputs)


def scaled_dot_product_attention(inputs, outputs):
    """Q K^T and A V for q: [..., L, D], k: [..., S, D], v: [..., S, E]; a mask saves nothing."""
    (*batch, length, key_dim), key_shape, value_shape = (get_shape(tensor) for tensor in inputs[:3])
    return prod(batch) * length * key_shape[-2] * (key_dim + value_shape[-1])


def transformer_encoder_layer(inputs, outputs):
    """The fused encoder layer on x: [B, T, C] that fairseq 0.12.2 may call outside training."""
    batch, length, dim = get_shape(inputs[0])
    weights = [inputs[argument] for argument in (3, 5, 14, 16)]
    projections = sum(prod(get_shape(weight)) for weight in weights)
    return batch * length * (projections + 2 * length * dim)


def addcmul(inputs, outputs):
    """S + k v^T, a column by a row: one for each output element; of tensors of one shape none, as it is elementwise."""
    first, second = (get_shape(tensor) for tensor in inputs[1:3])
    return 0 if first == second else prod(get_shape(outputs[0]))


def lstm(inputs, outputs):
    """Every matrix times each token of x: [..., C]; packed sentences come with their batch sizes before the state."""
    is_packed = inputs[1].type().kind() == "TensorType"
    shapes = [get_shape(weight) for weight in inputs[3 if is_packed else 2].node().inputs()]
    return prod(get_shape(inputs[0])[:-1]) * sum(prod(shape) for shape in shapes if len(shape) == 2)


def einsum(inputs, outputs):
    """A product of two tensors: each output element sums over the contracted indices."""
    equation = inputs[0].toIValue().replace(" ", "")
    shapes = [get_shape(operand) for operand in inputs[1].node().inputs()]
    terms, arrow, result = equation.partition("->")
    if len(shapes) != 2 or not arrow:
        raise UserError(f"einsum {equation!r}: cannot be counted; write it as products of two tensors with '->'")
    sizes = {}
    for term, shape in zip(terms.split(","), shapes):
        before, _, after = term.partition("...")
        sizes.update(zip(before, shape))
        sizes.update(zip(reversed(after), reversed(shape)))
    contracted = [size for index, size in sizes.items() if index not in result]
    return prod(get_shape(outputs[0])) * prod(contracted)


HANDLERS = {
    "aten::_convolution": conv_flop_jit,
    "aten::_scaled_dot_product_attention": scaled_dot_product_attention,
    "aten::_transformer_encoder_layer_fwd": transformer_encoder_layer,
    "aten::addcmul": addcmul,
    "aten::addmm": addmm_flop_jit,
    "aten::baddbmm": baddbmm,
    "aten::bmm": bmm_flop_jit,
    "aten::einsum": einsum,
    "aten::linear": linear_flop_jit,
    "aten::lstm": lstm,
    "aten::matmul": matmul_flop_jit,
    "aten::mm": matmul_flop_jit,
    "aten::scaled_dot_product_attention": scaled_dot_product_attention,
}

# Beyond the views, copies, comparisons and masks that fvcore itself leaves out. By the definition
# elementwise products, norms, activations, softmax and embedding look-ups are free.
FREE = (
    "aten::__or__",
    "aten::_pack_padded_sequence",
    "aten::_shape_as_tensor",
    "aten::add",
    "aten::add_",
    "aten::amax",
    "aten::any",
    "aten::as_strided",
    "aten::clamp_min",
    "aten::clone",
    "aten::cos",
    "aten::cumsum",
    "aten::div",
    "aten::div_",
    "aten::elu",
    "aten::embedding",
    "aten::empty_like",
    "aten::exp",
    "aten::expand_as",
    "aten::fill_",
    "aten::gelu",
    "aten::glu",
    "aten::index_copy",
    "aten::index_select",
    "aten::layer_norm",
    "aten::linalg_vector_norm",
    "aten::log",
    "aten::log_softmax",
    "aten::logsumexp",
    "aten::lt",
    "aten::masked_fill_",
    "aten::maximum",
    "aten::mean",
    "aten::mul",
    "aten::mul_",
    "aten::ne",
    "aten::neg",
    "aten::numel",
    "aten::ones_like",
    "aten::pad",
    "aten::pow",
    "aten::rsub",
    "aten::scatter_",
    "aten::sigmoid",
    "aten::silu",
    "aten::sin",
    "aten::softmax",
    "aten::sort",
    "aten::sqrt",
    "aten::sub",
    "aten::sub_",
    "aten::sum",
    "aten::tanh",
    "aten::tril",
    "aten::triu",
    "aten::unfold",
    "aten::where",
)
