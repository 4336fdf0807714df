"""The codemod over sources that are put together at random: it never breaks one, and never has to be run twice."""

from __future__ import annotations

import ast

from hypothesis import given, settings
from hypothesis import strategies as st

from zrun_compat.migrate import migrate_source

IMPORTS = st.sampled_from(
    [
        "import zfit",
        "import zfit as zf",
        "from zfit import run",
        "from zfit import run, z, Space",
        "from zfit import z as zz",
        "from zrun_compat import run",
        "from zfit.util.execution import RunManager, eval_object",
        "import zfit.z.numpy as znp, zfit.z",
        "import zrun_tf as zrun",
        "import tensorflow as tf",
        "import os",
    ]
)
MANAGERS = st.sampled_from(["run", "zfit.run", "zf.run", "zfit.z", "self.run"])
ARGUMENTS = st.lists(
    st.sampled_from(
        ["False", "True", "None", "x", "graph=False", "autograd=x", "graph={'loss': True}", "set_backend=True", "*x"]
    ),
    max_size=2,
).map(lambda arguments: ", ".join(sorted(set(arguments), key=lambda text: ("=" in text, text))))
NAMES = st.sampled_from(
    [
        "set_mode",
        "set_graph_mode",
        "set_autograd_mode",
        "set_mode_default",
        "get_graph_mode",
        "clear_graph_cache",
        "set_graph_cache_size",
        "aquire_cpu",
        "experimental_enable_eager",
        "executing_eagerly",
        "function",
        "chunking.active",
        "numeric_checks",
        "mode",
        "made_up",
    ]
)
CALLS = st.builds("{}.{}({})".format, MANAGERS, NAMES, ARGUMENTS)
READS = st.builds("{}.{}".format, MANAGERS, NAMES)
EXPRESSIONS = CALLS | READS | st.builds("print({}, {})".format, CALLS, READS) | st.just("run = 3")
SIMPLE = EXPRESSIONS | IMPORTS | READS.map("{} = True".format) | st.just("pass  # a comment")


def indented(statements):
    return ["    " + line for statement in statements for line in statement.split("\n")]


def compound(statements):
    blocks = st.lists(statements, min_size=1, max_size=3)
    heads = (
        CALLS.map("with {}:".format)
        | CALLS.map("with {} as run:".format)
        | st.builds("with {}, {}:".format, CALLS, CALLS)
        | st.sampled_from(["def f(x):", "def f(run, x):", "class C:", "if x:", "for run in x:"])
        | st.sampled_from(["@zfit.z.function(wraps='loss')\ndef f(x):", "@run.function\ndef f(x):"])
    )
    return st.builds(lambda head, body: "\n".join([head, *indented(body)]), heads, blocks) | st.builds(
        lambda body, other: "\n".join(["try:", *indented(body), "except ImportError:", *indented(other)]),
        blocks,
        blocks,
    )


STATEMENTS = st.recursive(
    SIMPLE
    | st.lists(SIMPLE, min_size=2, max_size=3).map("; ".join).map(lambda line: line.replace("  # a comment", "")),
    compound,
    max_leaves=6,
)
SOURCES = st.builds(
    lambda imports, statements, newline, end: newline.join("\n".join([*imports, *statements]).split("\n")) + end,
    st.lists(IMPORTS, max_size=3),
    st.lists(STATEMENTS, min_size=1, max_size=4),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\n"]),
)


def is_python(source):
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


@settings(max_examples=60)
@given(SOURCES.filter(is_python))
def test_it_is_python_and_doing_it_again_changes_nothing(source):
    done = migrate_source(source)
    ast.parse(done.source)
    again = migrate_source(done.source)
    assert again.source == done.source
    assert again.rewritten == 0
    assert source.count("# a comment") == done.source.count("# a comment")
    assert ("\r\n" in source) is ("\r\n" in done.source) or "\n" not in done.source
    if done.rewritten == 0:
        assert done.source == source


@settings(max_examples=60)
@given(SOURCES.filter(is_python))
def test_an_old_name_is_rewritten_or_reported(source):
    done = migrate_source(source)
    after = [line for line in done.source.splitlines() if ".set_graph_mode(" in line]
    lines = {place.line for place in migrate_source(done.source).places}
    for number, line in enumerate(done.source.splitlines(), start=1):
        if line in after:
            assert number in lines
