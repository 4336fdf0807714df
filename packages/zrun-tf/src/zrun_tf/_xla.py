"""What XLA cannot compile, said in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from zrun_core.errors import CompileError

if TYPE_CHECKING:
    import tensorflow as tf

# TensorFlow's words for an operation that XLA does not have (2.21); where they differ, its first line is told.
_UNSUPPORTED: Final = re.compile(
    r"No registered '(\w+)' OpKernel for XLA\w* devices compatible with node "
    r"(?:\{\{function_node [^}]+\}\})?\{\{node ([^}]+)\}\}"
)
_WHILE_COMPILING: Final = ("tf2xla conversion failed", "XLA_CPU_JIT", "XLA_GPU_JIT", "compile-time constant")
_CALLED: Final = {
    "EagerPyFunc": "Python code, tf.py_function",
    "PyFunc": "Python code, tf.numpy_function",
    "PyFuncStateless": "Python code, tf.numpy_function",
    "StringFormat": "text, from tf.print or tf.strings.format",
    "_Arg": "an argument that XLA has no type for, such as text",
}


def compile_error(name: str, error: tf.errors.OpError) -> CompileError | None:
    """The error to raise where XLA could not compile a function.

    Args:
        name: of the function.
        error: what running it raised.

    Returns:
        An error that names the operations and says what to do; None where the error is of another kind.
    """
    text = str(error)
    if not any(words in text for words in _WHILE_COMPILING):
        return None
    operations = dict.fromkeys(_UNSUPPORTED.findall(text))
    if operations:
        told = [f"{operation} (node '{node}'{_in_words(operation)})" for operation, node in operations]
        why = f"XLA has no {', no '.join(told)}"
    else:
        why = next(line for line in text.splitlines() if line.strip())
    return CompileError(
        f"{name} cannot be compiled: {why}. Move that out of the function, or run it without compiling: "
        f"jit_compile=False on its decorator, or 'with run.using(jit=False)'."
    )


def _in_words(operation: str) -> str:
    return f": {_CALLED[operation]}" if operation in _CALLED else ""
