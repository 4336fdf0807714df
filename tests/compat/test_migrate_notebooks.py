"""Notebooks: cells are one module, what is for IPython stays, and so do outputs and the layout of the JSON."""

from __future__ import annotations

import json

import pytest

from zrun_compat.migrate import UnreadableSourceError, main, migrate_source


def cell(source, kind="code"):
    # As a list of lines, which is how Jupyter saves it.
    extra = {"execution_count": 3, "outputs": [{"name": "stdout", "text": ["µ zfit.run\n"]}]} if kind == "code" else {}
    return {"cell_type": kind, "id": "a1", "metadata": {"tags": []}, **extra, "source": source.splitlines(True)}


def notebook(*cells, **options):
    whole = {"cells": [*cells], "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, **{"indent": 1, "ensure_ascii": False, **options}) + "\n"


def migrate(text):
    return migrate_source(text, notebook=True)


def sources(text):
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"]]


def test_a_name_of_one_cell_is_followed_in_the_others():
    text = notebook(
        cell("# A fit with zfit.run", kind="markdown"),
        cell("%matplotlib inline\nfrom zfit import run, z  # both\n"),
        cell("run.set_graph_mode(False)"),
        cell("@z.function(wraps='loss')\ndef loss(x):\n    return x"),
        cell("change = run.set_mode(graph=True)\n\nx = 1"),
    )
    done = migrate(text)
    assert sources(done.source) == [
        "# A fit with zfit.run",
        "%matplotlib inline\nfrom zfit import run  # both\nimport zrun_tf as zrun\n",
        "zrun.run.set_mode(graph=False)",
        "@zrun.function(kind='loss')\ndef loss(x):\n    return x",
        "change = run.set_mode(graph=True)\n\nx = 1",
    ]
    assert done.rewritten == 2
    assert [(place.cell, place.line, place.column, place.kind) for place in done.places] == [(5, 1, 10, "left")]
    assert done.places[0].at("fit.ipynb").startswith("fit.ipynb:cell 5:1:10: left: ")
    assert migrate(done.source).source == done.source
    # Check that nothing but these lines has changed.
    changed = [line for line in done.source.splitlines() if line not in text.splitlines()]
    assert all("zrun" in line or "from zfit import run " in line for line in changed)


@pytest.mark.parametrize(
    "options",
    [{}, {"indent": 2}, {"indent": None}, {"ensure_ascii": True}, {"indent": None, "separators": (",", ":")}],
)
def test_the_layout_of_the_json_stays(options):
    before, after = (
        notebook(cell(source), cell("µ = 1"), **options)
        for source in (
            "import zfit\nzfit.run.set_mode(graph=True)",
            "import zrun_tf as zrun\nzrun.run.set_mode(graph=True)",
        )
    )
    assert migrate(before).source == after
    assert migrate(before.rstrip("\n")).source == after.rstrip("\n")


def test_a_source_that_is_one_string():
    text = notebook({**cell(""), "source": "import zfit\nzfit.run.set_graph_mode(True)\n"})
    assert json.loads(migrate(text).source)["cells"][0]["source"] == (
        "import zrun_tf as zrun\nzrun.run.set_mode(graph=True)\n"
    )


MAGICS = """\
%time x = 1
!ls -l
files = !ls
here = %pwd
if files:
    %timeit x
    !echo zfit
run?
?x
import zfit
x = (3
     % 2)
zfit.run.set_graph_mode(False)
"""


def test_lines_for_ipython_stay():
    # Where a cell has both, a line that goes on with % would be taken for a magic: it is said, not guessed.
    text = MAGICS.replace("x = (3\n     % 2)\n", "x = (3 %\n     2)\n")
    done = migrate(notebook(cell(text)))
    assert sources(done.source) == [
        text.replace("import zfit\n", "import zrun_tf as zrun\n").replace(
            "zfit.run.set_graph_mode(False)", "zrun.run.set_mode(graph=False)"
        )
    ]
    assert done.places == ()
    (place,) = migrate(notebook(cell(MAGICS))).places
    assert place.reason.startswith("the cell is not read, and nothing in it is rewritten: ")


def test_python_below_a_cell_magic():
    text = notebook(cell("import zfit"), cell("\n%%time\n# set it\nzfit.run.set_graph_mode(True)"))
    assert sources(migrate(text).source)[1] == "\n%%time\n# set it\nzrun.run.set_mode(graph=True)"


@pytest.mark.parametrize(
    "source",
    [
        "%%bash\npython -c 'import zfit; zfit.run.set_graph_mode(False)'",
        "%time zfit.run.set_graph_mode(False)",
        "def broken(:\n    zfit.run.set_graph_mode(False)",
    ],
)
def test_a_cell_that_is_not_read_is_said_and_keeps_its_imports(source):
    done = migrate(
        notebook(cell("import zfit\nzfit.run.set_mode_default()"), cell(source), cell("%%html\n<b>zfit</b>"))
    )
    assert sources(done.source) == [
        "import zfit\nimport zrun_tf as zrun\nzrun.run.set_mode_default()",
        source,
        "%%html\n<b>zfit</b>",
    ]
    (place,) = done.places
    assert (place.cell, place.kind) == (2, "left")
    assert "the cell is not read" in place.reason


def test_cells_that_are_empty_or_asynchronous():
    text = notebook(cell(""), cell("import zfit"), cell("await x\nzfit.run.set_graph_mode(True)"), cell("\n\n"))
    assert sources(migrate(text).source) == [
        "",
        "import zrun_tf as zrun",
        "await x\nzrun.run.set_mode(graph=True)",
        "\n\n",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("from zfit import run", "it is no JSON"),
        ('["zfit.run"]', "it is no notebook of version 4"),
        ('{"cells": "zfit.run"}', "it is no notebook of version 4"),
        ('{"worksheets": ["zfit.run"]}', "it is no notebook of version 4"),
    ],
)
def test_what_is_no_notebook(text, reason):
    with pytest.raises(UnreadableSourceError, match=reason):
        migrate(text)


def test_json_of_an_unusual_layout_is_left_alone():
    text = notebook(cell("import zfit\nzfit.run.set_graph_mode(True)")).replace('"cells": [', '"cells":   [')
    with pytest.raises(UnreadableSourceError, match="its JSON is formatted in an unusual way"):
        migrate(text)


def test_a_notebook_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "fit.ipynb"
    path.write_text(notebook(cell("import zfit\nc = zfit.run.set_mode(graph=True)\nzfit.run.n_cpu")), encoding="utf-8")
    with pytest.raises(SystemExit) as done:
        main([str(path)])
    assert done.value.code == 1
    assert f"{path}:cell 1:2:5: left:" in capsys.readouterr().out
    assert "zrun.run.n_cpu" in path.read_text(encoding="utf-8")
