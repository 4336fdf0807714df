import functools

from zfit import z
import zrun_tf as zrun


@zrun.function
def plain(x):
    return x


@zrun.function()
def called(x):
    return x


@zrun.function(kind="loss")
def loss(x):
    return x


@functools.lru_cache(maxsize=None)
@zrun.function(kind='sample', jit_compile=False)
@functools.wraps(plain)
def sample(x):
    return x


@zrun.function(
    kind="tensor",  # what it is
    max_graphs=10,
)
def spread(x):
    return x


@zrun.function()
def nothing_left(x):
    return x


@zrun.function(force_eager=True)
def eager(x):
    return x


@zrun.function()
def nothing(x):
    return x


@zrun.function(kind="model.pdf")
def dotted(x):
    return x


class Model:
    @zrun.function(kind="model")
    def pdf(self, x):
        return x

    @staticmethod
    @zrun.function
    def static(x):
        return x


graph = zrun.function(lambda x: x)
again = zrun.function(plain)
many = list(map(zrun.function, [plain, loss]))


@z.function(wraps="zfit_tensor")
def unknown_kind(x):
    return x


@z.function(input_signature=[])
def signature(x):
    return x


OPTIONS = {"wraps": "loss"}


@z.function(**OPTIONS)
def starred(x):
    return x


jit = z.function
later = functools.partial(z.function, wraps="loss")
wrapped = z.py_function(func=plain, inp=[1.0], Tout=float)
