"""The commands on the Markdown pages exist: sessions of nox, commands and options of zrun, files, extras.

Nothing is run, since most of them install or take minutes; what each names is looked up.
"""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest

from ..pages import PAGES, ROOT, blocks, name_of

NOX = (ROOT / "noxfile.py").read_text(encoding="utf-8")
SESSIONS = set(re.findall(r"^def ([a-z]\w*)\(session", NOX, flags=re.MULTILINE))
TEXTS = {name_of(page): page.read_text(encoding="utf-8") for page in PAGES}
# Programs of others, of which nothing is looked up.
OTHERS = {"cp", "cd", "eval", "source", "uv"}


def commands(code):
    """The commands of a shell block as lists of words, without comments and without assignments before them."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        for between, group in itertools.groupby(lexer, key=lambda word: set(word) <= set("&|;")):
            words = list(itertools.dropwhile(re.compile(r"\w+=").match, group))
            if words and not between:
                yield words


SHELL = [
    (f"{name_of(page)}:{block.line}", words)
    for page in PAGES
    for block in blocks(page, "sh")
    for words in commands(block.code)
]


def extras(package):
    """The extras of one of the packages."""
    text = (ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8")
    return set(
        re.findall(
            r"^(\w+) = \[", text.partition("[project.optional-dependencies]")[2].partition("\n[")[0], re.MULTILINE
        )
    )


def check_options(command, words):
    """Fail where a word before the program of `zrun run` is an option that the command does not have."""
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    takes = {option: not getattr(one, "is_flag", False) for one in command.params for option in one.opts}
    words = iter(words)
    for word in words:
        if not word.startswith("-") or word == "-m":
            # From here on they are the program's.
            break
        option = word.partition("=")[0]
        assert option in known | {"--help", "-h"}, f"{command.name} has no option {option}"
        if takes.get(option) and "=" not in word:
            next(words)


def check_zrun(words):
    from zrun_tf.cli._commands import zrun

    if words[0].startswith("-"):
        return
    assert words[0] in zrun.commands, words
    check_options(zrun.commands[words[0]], words[1:])


def check_zrun_migrate(words):
    from zrun_compat._migrate._command import command

    check_options(command, [word for word in words if word.startswith("-")])


def check_pip(words):
    for word in words:
        if found := re.fullmatch(r"(?:\./)?(?:packages/)?(zrun-\w+)(?:\[([\w,]+)\])?", word):
            assert (ROOT / "packages" / found[1]).is_dir(), word
            assert set(filter(None, (found[2] or "").split(","))) <= extras(found[1]), word


def check_python(words):
    if words[0] != "-m":
        # A script of the user's, or one that is there.
        name = next(word for word in words if not word.startswith("-"))
        assert "/" not in name or (ROOT / name).is_file(), name
        return
    module, rest = words[1], words[2:]
    if module == "nox":
        check_nox(rest)
    elif module == "pip":
        check_pip(rest)
    elif module == "pytest":
        named = [word for word in rest if word.startswith("tests/") or "/" in word]
        assert [name for name in named if not (ROOT / name.partition("::")[0]).exists()] == []
    else:
        assert module in {"venv", "zrun_tf.cli"}, module


def check_nox(words):
    assert words[0] == "-s", words
    own = words[: words.index("--")] if "--" in words else words
    assert {word.partition("(")[0] for word in own[1:] if not word.startswith("-")} <= SESSIONS
    for word in words[len(own) :]:
        if word.startswith("tests/"):
            assert (ROOT / word).exists(), word


def check(words):
    program, rest = words[0], words[1:]
    if program in ("python", "python3"):
        check_python(rest)
    elif program == "nox":
        check_nox(rest)
    elif program == "zrun":
        check_zrun(rest or ["--help"])
    elif program == "zrun-migrate":
        check_zrun_migrate(rest)
    elif program == ".":
        assert Path(rest[0]).name == "activate"
    else:
        assert program in OTHERS, program


@pytest.mark.parametrize(("where", "words"), SHELL, ids=[f"{where} {' '.join(words)}" for where, words in SHELL])
def test_a_command_on_a_page_exists(where, words):
    check(words)


@pytest.mark.parametrize(
    "line",
    [
        "zrun walk fit.py",
        "zrun run --report-to x.html fit.py",
        "python -m nox -s demoo",
        "python -m nox -s bench -- tests/benchmarks/test_nothing.py",
        'pip install "zrun-tf[cly]"',
        'python -m pip install "./packages/zrun-tf[cly]"',
        "zrun-migrate --difff fit.py",
        "python docs/nothing.py",
        "apt-get install zrun",
    ],
)
def test_a_command_that_is_not_there_is_noticed(line):
    (words,) = commands(line)
    with pytest.raises(AssertionError):
        check(words)


@pytest.mark.parametrize("name", TEXTS)
def test_sessions_that_are_named_in_the_text_exist(name):
    named = re.findall(r"nox -s \"?(\w+)", TEXTS[name])
    assert set(named) <= SESSIONS
