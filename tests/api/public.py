"""What is public: the names that the package, its rooms and the runtime hand on."""

import ast
import inspect
import textwrap
from importlib import import_module

import fairseq_lite_runtime

import fairseq_lite

MISTAKES = {"UserError", "ArgumentError", "ValueError", "FolderError", "InputError"}
ROOMS = [import_module(f"fairseq_lite.{room}") for room in fairseq_lite.PUBLIC]


def public():
    """Classes and functions by name; tables and names of types are described on the pages."""
    handed_on = [(fairseq_lite, fairseq_lite.__all__), (fairseq_lite_runtime, fairseq_lite_runtime.__all__)]
    handed_on += [(room, getattr(room, "__all__", ())) for room in ROOMS]
    found = {name: getattr(home, name) for home, names in handed_on for name in names}
    return {name: thing for name, thing in found.items() if inspect.isclass(thing) or inspect.isfunction(thing)}


def is_ours(thing):
    return getattr(thing, "__module__", "").split(".")[0] in ("fairseq_lite", "fairseq_lite_runtime")


def has_source(function):
    """Whether it is a function of ours that somebody wrote; a dataclass makes its constructor itself."""
    return is_ours(function) and inspect.isfunction(function) and function.__code__.co_filename != "<string>"


def constructors(cls):
    """What runs when a class of ours is called, its bases of ours included."""
    bases = [base for base in cls.__mro__ if is_ours(base)]
    return [vars(base)[name] for base in bases for name in ("__init__", "__post_init__") if name in vars(base)]


def methods(cls):
    """The public methods and properties that a class has itself, by name."""
    return {
        name: getattr(member, "fget", None) or getattr(member, "__func__", member)
        for name, member in vars(cls).items()
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property))
    }


def raises_mistakes(function, seen=()):
    """Whether a function of ours raises a user's mistake, or calls one of ours by its name that does."""
    function = inspect.unwrap(function)
    if function in seen or not has_source(function):
        return False
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and getattr(getattr(node.exc, "func", None), "id", None) in MISTAKES:
            return True
        called = function.__globals__.get(node.func.id) if _calls_a_name(node) else None
        if callable(called) and raises_mistakes(called, (*seen, function)):
            return True
    return False


def _calls_a_name(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
