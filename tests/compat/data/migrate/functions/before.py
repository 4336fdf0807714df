import functools

from zfit import z


@z.function
def plain(x):
    return x


@z.function()
def called(x):
    return x


@z.function(wraps="loss")
def loss(x):
    return x


@functools.lru_cache(maxsize=None)
@z.function(wraps='sample', stateless_args=True, jit_compile=False)
@functools.wraps(plain)
def sample(x):
    return x


@z.function(
    wraps="tensor",  # what it is
    keepalive=True,
    cachesize=10,
)
def spread(x):
    return x


@z.function(stateless_args=False, keepalive=True)
def nothing_left(x):
    return x


@z.function(autograph=False, force_eager=True)
def eager(x):
    return x


@z.function(wraps=None, cachesize=None)
def nothing(x):
    return x


@z.function(wraps="model.pdf")
def dotted(x):
    return x


class Model:
    @z.function(wraps="model")
    def pdf(self, x):
        return x

    @staticmethod
    @z.function
    def static(x):
        return x


graph = z.function(lambda x: x)
again = z.function(func=plain)
many = list(map(z.function, [plain, loss]))


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
