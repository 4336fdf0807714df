"""`numpy_function` and `py_function`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zrun_core.errors import IllegalInGraphError
from zrun_tf._autograph import leave_alone
from zrun_tf._errors import PythonFunctionError
from zrun_tf.gradients._points import is_compiled

from ._arguments import Arrays, by_input, leaves_of, read_inputs, read_like
from ._block import Block, Options, named
from ._eager import call_eagerly
from ._graph import call_in_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._rows import Rows


@leave_alone
def numpy_function(
    func: Callable[..., Any],
    inputs: Any,
    like: Any = None,
    *,
    jacobian: Callable[..., Any] | None = None,
    rows: Any = None,
    bounds: Any = None,
    scale: Any = None,
    stateful: bool = True,
) -> Any:
    """Call a function written for NumPy inside a model, with true derivatives.

    Args:
        func: takes NumPy arrays (NumPy numbers for shape `()`), and returns arrays or numbers. It must give the same
            results for the same inputs. It gets copies, so it may write into its arguments. Variables that it reads on
            its own are not differentiated by, which is an error when a derivative is asked for.
        inputs: what `func` is called with: one tensor as `func(x)`, a list or tuple as `func(*inputs)`, a mapping as
            `func(**inputs)`. Tensors, variables, arrays and numbers; Python floats are float64.
        like: the shape and the dtype of the result: a tensor, an array, a number or a `tf.TensorSpec` (whose shape may
            have None in it); a list, tuple or mapping of these for several results, which `func` then returns in that
            form. Results are cast to it where nothing but precision is lost. None: as of all inputs broadcast together,
            which is right for elementwise functions.
        jacobian: takes what `func` takes and returns its derivatives: one entry for each input, in the form of
            `inputs`; in place of an entry None, for a numerical derivative by that input. An entry has the shape of the
            result plus that of the input, or, for functions that map rows, `(rows, *rest of the result, *rest of the
            input)`. For several results, an entry has the form of `like`. None: numerical derivatives.
        rows: which inputs are mapped row by row, so that row i of the results depends on row i of the input and of no
            other: a list of places or keys of `inputs`; True for all that have as many rows as the results; False for
            none. None: it is tested when a derivative by such an input is asked for.
        bounds: as many entries as inputs, in the form of `inputs`: a pair `(low, high)` outside of which numerical
            derivatives never evaluate `func`, or None. None in place of a number: no bound.
        scale: likewise: on what scale `func` varies with an input, about; None: the size of its elements.
        stateful: in a graph, whether `func` runs whenever the graph does, in the order of the program. False: not if
            nobody uses the result, at the same time as others, and once for equal inputs.

    Returns:
        Tensors in the form of `like`.

    Raises:
        PythonFunctionError: an argument is invalid, or `func` returned something that does not fit `like`.
        GradientError: a derivative is asked for that cannot be had: the function or its Jacobian is NaN or infinite
            where it counts, the Jacobian has the wrong shape, or it is a third derivative. The message names `func`.
        IllegalInGraphError: XLA compiles the graph that is being built; it cannot call Python.

    The derivatives are those of the block alone, while the rest of the model keeps automatic ones. They are taken when
    they are asked for, in backward and in forward mode, of first and second order, and only by those inputs that count.
    Complex inputs and results are differentiated by their real and imaginary parts; integers are not.

    Numerical first derivatives evaluate `func` once at the point and 12 times for each element of an input (up to 48
    times more where that is not accurate to some 4e-10), or for each column of an input that is mapped row by row,
    however many rows there are. Showing that it is takes some more evaluations, 13 for 1000 rows and 20 for 100,000;
    pass `rows` to save these. Second derivatives take 6 more for each pair. With `jacobian`, the first derivatives are
    what it returns, and the second ones are differences of it, at 12 evaluations for each element or column.

    An exception of `func` passes unchanged when it runs eagerly and in a `zrun.function`; where a `tf.function` runs
    the graph, TensorFlow makes an error of it that has its text and traceback.

    Scope: the policy in force at the call is in force in `func`. In a graph that is the policy it was built under, with
    `graph=False`, as `func` runs on a thread of TensorFlow then: a graph that it waited for could need that thread. So
    zrun functions run eagerly in it; do not call a `tf.function` there. A graph keeps `func` alive, and no longer.

    Example:
        >>> import numpy as np, tensorflow as tf, zrun_tf as zrun
        >>> def efficiency(mass, turn_on):  # any code: NumPy, SciPy, a table, another library
        ...     return 1 / (1 + np.exp(-(mass - turn_on)))
        >>> mass = tf.constant([1.0, 2.0, 4.0], tf.float64)
        >>> def loss(turn_on):
        ...     return -tf.reduce_sum(tf.math.log(zrun.numpy_function(efficiency, [mass, turn_on], like=mass)))
        >>> round(float(zrun.gradient(loss, tf.constant(2.0, tf.float64))), 9)
        1.350261501
        >>> zrun.hessian(loss, tf.constant(2.0, tf.float64)).numpy().round(7)
        array([[0.5516055]])
    """
    options = (jacobian, rows, bounds, scale)
    return _called("numpy_function", func, inputs, like, options, stateful=stateful, autograd=False, tensors=False)


@leave_alone
def py_function(
    func: Callable[..., Any],
    inputs: Any,
    like: Any = None,
    *,
    jacobian: Callable[..., Any] | None = None,
    rows: Any = None,
    bounds: Any = None,
    scale: Any = None,
    stateful: bool = True,
    autograd: bool = False,
) -> Any:
    """Call a Python function of eager tensors inside a model, with true derivatives.

    As `numpy_function`, but `func` takes tensors, also where a graph calls it, and returns tensors, arrays or numbers.

    Args:
        func: as for `numpy_function`, of tensors.
        inputs: as for `numpy_function`.
        like: as for `numpy_function`.
        jacobian: as for `numpy_function`, of tensors.
        rows: as for `numpy_function`.
        bounds: as for `numpy_function`.
        scale: as for `numpy_function`.
        stateful: as for `numpy_function`.
        autograd: have TensorFlow differentiate `func`, which must compute with TensorFlow all the way: what goes
            through NumPy in it is taken for a constant. False: numerical derivatives, which are right in any case.

    Returns:
        Tensors in the form of `like`.

    Raises:
        PythonFunctionError: as for `numpy_function`.
        GradientError: as for `numpy_function`; or, with `autograd`, a result does not depend on any input as far as
            TensorFlow can see.
        IllegalInGraphError: as for `numpy_function`.

    Scope: as for `numpy_function`.

    Example:
        >>> import tensorflow as tf, zrun_tf as zrun
        >>> def halved(x):  # a loop over values that no graph could have
        ...     while float(x) > 1.0:
        ...         x = x / 2
        ...     return x
        >>> @tf.function
        ... def slope(x):
        ...     return zrun.gradient(lambda at: zrun.py_function(halved, at, autograd=True) ** 2, x)
        >>> float(slope(tf.constant(12.0, tf.float64)))
        0.09375
    """
    options = (jacobian, rows, bounds, scale)
    return _called("py_function", func, inputs, like, options, stateful=stateful, autograd=autograd, tensors=True)


def _called(
    what: str,
    func: Any,
    inputs: Any,
    like: Any,
    options: tuple[Any, ...],
    *,
    stateful: bool,
    autograd: bool,
    tensors: bool,
) -> Any:
    if not callable(func):
        raise PythonFunctionError(f"{what} takes a function as its first argument; got {func!r}.")
    name = named(what, func)
    for argument, value in (("stateful", stateful), ("autograd", autograd)):
        if not isinstance(value, bool):
            raise PythonFunctionError(f"{name}: {argument} must be True or False; got {value!r}.")
    known, values, constant = read_inputs(name, inputs)
    results = read_like(name, like, known)
    for leaf in results.leaves:
        if leaf.dtype in (tf.float16, tf.bfloat16):
            raise PythonFunctionError(
                f"{name}: {leaf.name} is to be {leaf.dtype.name}; use float32 or float64, and tf.cast."
            )
    block = Block(
        what, func, inputs, known, results, _options(name, known, options, autograd=autograd), tensors=tensors
    )
    slots = known.split(values)
    # Nothing can be differentiated by a number or an array: nobody else has the tensor that it becomes.
    sources = [place for place, slot in enumerate(known.slots) if slot.dtype.is_floating and not constant[slot.leaf]]
    targets = [place for place, slot in enumerate(results.slots) if slot.differentiable]
    if tf.executing_eagerly():
        return results.pack(results.join(call_eagerly(block, slots, sources, targets)))
    if is_compiled():
        raise IllegalInGraphError(
            f"{name} is called in a function that is compiled with XLA (jit_compile=True, or the policy's jit), and "
            f"compiled code cannot call Python. Leave the compilation out for this function and those that call it."
        )
    found = call_in_graph(block, slots, sources, targets, stateful=stateful)
    joined = results.join(found)
    for tensor, leaf in zip(joined, results.leaves, strict=True):
        # The block checks it; tf.ensure_shape cannot be differentiated in forward mode in a graph.
        tensor.set_shape(leaf.shape)
    return results.pack(joined)


def _options(name: str, known: Arrays, given: tuple[Any, ...], *, autograd: bool) -> Options:
    jacobian, rows, bounds, scale = given
    if jacobian is not None and not callable(jacobian):
        raise PythonFunctionError(
            f"{name}: jacobian must be a function of the same arguments, or None; got {jacobian!r}."
        )
    if jacobian is not None and autograd:
        raise PythonFunctionError(f"{name}: give either jacobian or autograd=True, not both.")
    if jacobian is not None and any(leaf.dtype.is_complex for leaf in known.leaves):
        raise PythonFunctionError(
            f"{name}: jacobian is for real inputs. Pass tf.math.real(z) and tf.math.imag(z) as two inputs, or leave it "
            f"out for numerical derivatives."
        )
    pairs = by_input(name, "bounds", bounds, known.structure)
    scales = by_input(name, "scale", scale, known.structure)
    for leaf, pair, size in zip(known.leaves, pairs, scales, strict=True):
        _check_bounds(name, leaf.name, leaf.shape, pair)
        if size is not None:
            numbers = _numbers(name, "scale", leaf.name, leaf.shape, size)
            if not (numbers > 0.0).all() or np.isinf(numbers).any():
                raise PythonFunctionError(f"{name}: scale of {leaf.name} must be positive; got {size!r}.")
    return Options(jacobian, _rows(name, known, rows), pairs, scales, autograd)


def _check_bounds(name: str, leaf: str, shape: tf.TensorShape, pair: Any) -> None:
    if pair is None:
        return
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise PythonFunctionError(f"{name}: bounds of {leaf} must be a pair (low, high); got {pair!r}.")
    low, high = (
        _numbers(name, "bounds", leaf, shape, none if side is None else side)
        for side, none in zip(pair, (-np.inf, np.inf), strict=True)
    )
    if not (low < high).all():
        raise PythonFunctionError(f"{name}: bounds of {leaf} must be a lower one below an upper one; got {pair!r}.")


def _numbers(name: str, argument: str, leaf: str, shape: tf.TensorShape, given: Any) -> np.ndarray[Any, Any]:
    try:
        numbers = np.asarray(given, np.float64)
        if shape.is_fully_defined():
            np.broadcast_to(numbers, tuple(shape))
    except (TypeError, ValueError) as error:
        raise PythonFunctionError(
            f"{name}: {argument} of {leaf} must be numbers that broadcast against shape {shape}; got {given!r}."
        ) from error
    return numbers


def _rows(name: str, known: Arrays, rows: Any) -> Rows:
    """`rows` as numbers of slots."""
    if rows is None or isinstance(rows, bool):
        return rows
    inputs = known.structure
    single = not isinstance(inputs, (list, tuple, Mapping))
    keys = [] if single else list(inputs) if isinstance(inputs, Mapping) else list(range(len(inputs)))
    if not isinstance(rows, (list, tuple, set, frozenset)) or any(row not in keys for row in rows):
        raise PythonFunctionError(
            f"{name}: rows must be True, False, None or a list of "
            f"{'keys' if isinstance(inputs, Mapping) else 'places'} of inputs, {keys}; got {rows!r}."
        )
    chosen = [
        key in rows
        for key, part in (inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs))
        for _ in leaves_of(part, "inputs")
    ]
    return tuple(number for number, slot in enumerate(known.slots) if chosen[slot.leaf])
