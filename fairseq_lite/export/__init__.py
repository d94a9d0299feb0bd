from fairseq_lite.errors import UserError

try:
    import onnx  # noqa: F401
except ModuleNotFoundError:
    raise UserError("the package onnx writes exported folders; pip install 'fairseq-lite[export]'") from None
