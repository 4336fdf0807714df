"""Sessions that set up what they need and run it: `nox -l` lists them, `nox -s NAME -- ARGUMENTS` runs one.

Reading this file runs nothing and reaches no network.
"""

from __future__ import annotations

import functools
import shutil
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / ".ci"))

# Found by the line above.
from machine import chosen_tests, differing, interpreter, modes_of, tensorflow_python  # noqa: E402
from rows import install_options, requirements, run_arguments  # noqa: E402

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "core", "tests"]

PACKAGES = ("zrun-core", "zrun-tf", "zrun-compat")
EVERYTHING = ("zrun-core", "zrun-tf[demo]", "zrun-compat[migrate]")
FITTING = ("zrun-core", "zrun-tf[demo]")
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")
MATRIX = GROUPS["tool"]["zrun"]["matrix"]
# TensorFlow publishes wheels for these, built for CPython with the GIL.
TENSORFLOW_MINORS = sorted({int(row["python"].split(".")[1]) for row in MATRIX["rows"] if "tensorflow" in row})
# A process for each CPU; the tests of a file stay together, since they share what takes long to make.
PARALLEL = "--numprocesses=auto --dist=loadfile"
# The processes agree on the names of tests that are made of sets.
SAME_NAMES = {"PYTHONHASHSEED": "0"}
# Imports are compiled once, also where Python may not write bytecode: TensorFlow takes ten seconds otherwise.
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg", **COMPILED}
TENSORFLOW_PYTHON, NO_TENSORFLOW = tensorflow_python(TENSORFLOW_MINORS)


def _require_tensorflow_python(session: nox.Session) -> None:
    """Stop with one sentence where no interpreter on this machine can have TensorFlow."""
    if NO_TENSORFLOW is not None:
        session.error(NO_TENSORFLOW)


def _group(name: str) -> list[str]:
    """The requirements of a dependency group of the root `pyproject.toml`."""
    return list(nox.project.dependency_groups(GROUPS, name))


def _install(
    session: nox.Session, *others: str, packages: tuple[str, ...] = EVERYTHING, editable: bool = False
) -> None:
    """Install packages from the checkout, as built or editable, together with other requirements."""
    arguments = []
    if session.venv_backend == "uv":
        # uv takes an installed version for the wanted one, although the checkout may have changed since.
        arguments = [f"--reinstall-package={name}" for name in PACKAGES]
    for package in packages:
        arguments += ["--editable"] if editable else []
        arguments.append(f"./packages/{package}")
    session.log("Installing TensorFlow and the packages; the first time this takes some minutes and prints nothing.")
    session.install(*arguments, *others)


@functools.cache
def _built() -> Path:
    """The folder for the wheels of this run of nox, which are built once."""
    shutil.rmtree(ROOT / "build" / "wheels", ignore_errors=True)
    return ROOT / "build" / "wheels"


def _wheels(session: nox.Session, packages: tuple[str, ...] = EVERYTHING) -> list[str]:
    """Requirements for wheels built from the checkout, each with the extras that are asked for."""
    wanted = []
    for package in packages:
        name = package.partition("[")[0]
        pattern = f"{name.replace('-', '_')}-*.whl"
        if not list(_built().glob(pattern)):
            source = f"./packages/{name}"
            if session.venv_backend == "uv":
                session.run_install("uv", "build", "--quiet", "--wheel", "--out-dir", str(_built()), source)
            else:
                pip = ("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(_built()))
                session.run_install(*pip, source)
        (wheel,) = _built().glob(pattern)
        wanted.append(f"{package} @ {wheel.as_uri()}")
    return wanted


@nox.session(python=TENSORFLOW_PYTHON)
def demo(session: nox.Session) -> None:
    """Fit measured data and show the result (arguments go to `zrun demo`)."""
    _require_tensorflow_python(session)
    _install(session, packages=FITTING)
    session.run("zrun", "demo", *session.posargs, env={"TF_CPP_MIN_LOG_LEVEL": "2", **COMPILED})


@nox.session(python=TENSORFLOW_PYTHON)
def tests(session: nox.Session) -> None:
    """Run every test, with warnings as errors (arguments go to pytest)."""
    _require_tensorflow_python(session)
    _install(session, *_group("test"), editable=True)
    session.run("python", "-m", "pytest", *session.posargs, env=QUIET)


@nox.session(python=TENSORFLOW_PYTHON)
def coverage(session: nox.Session) -> None:
    """Run every test and report the lines and branches that none of them ran."""
    _require_tensorflow_python(session)
    _install(session, *_group("coverage"), editable=True)
    session.run("python", "-m", "coverage", "erase")
    session.run("python", "-m", "coverage", "run", "-m", "pytest", *session.posargs, env=QUIET)
    session.run("python", "-m", "coverage", "combine", "--quiet")
    session.run("python", "-m", "coverage", "report")


ROWS = {row["name"]: row for row in MATRIX["rows"]}
FOUND = {version: interpreter(version) for version in sorted({row["python"] for row in ROWS.values()})}


@nox.session
@nox.parametrize(
    ("python", "row"),
    # nox says that it has no interpreter where there is none, and goes on.
    [nox.param(FOUND[row["python"]] or row["python"], name, id=name) for name, row in ROWS.items()]
    + [nox.param(None, None, id="summary")],
)
def matrix(session: nox.Session, row: str | None) -> None:
    """Test the wheels with each row of versions; `-- corner`, `-- --mode=eager` or arguments of pytest run less."""
    if row is None:
        session.install("tomli; python_version < '3.11'")
        missing = [f"--missing={version}" for version, found in FOUND.items() if found is None]
        session.run("python", ".ci/summary.py", *missing, *(["--complete"] if "--complete" in session.posargs else []))
        return
    settings = ROWS[row]
    has = "tensorflow" in settings
    wanted = [*_wheels(session, EVERYTHING if has else ("zrun-core",)), *_group("test" if has else "core-test")]
    options = install_options(settings, Path(session.create_tmp()).resolve())
    if session.venv_backend == "uv":
        options += [f"--reinstall-package={name}" for name in PACKAGES]
    else:
        # pip takes an installed version for the wanted one.
        session.run_install("python", "-m", "pip", "uninstall", "--yes", "--quiet", *PACKAGES)
    stated = [nox.project.load_toml(ROOT / "packages" / name / "pyproject.toml") for name in PACKAGES]
    session.install(*options, *wanted, *requirements(settings, stated))
    env = {**QUIET, **SAME_NAMES, "PYTEST_ADDOPTS": PARALLEL}
    said = run_arguments(settings, MATRIX, session.posargs)
    session.run("python", ".ci/row.py", *said, env=env, success_codes=range(256) if "may-fail" in settings else (0,))


@nox.session
def core(session: nox.Session) -> None:
    """Prove that the zrun-core wheel needs neither TensorFlow nor NumPy and imports fast."""
    again = ["--reinstall", "--compile-bytecode"] if session.venv_backend == "uv" else ["--force-reinstall"]
    session.install(*again, *_wheels(session, ("zrun-core",)))
    session.install(*_group("core-coverage"))
    session.run("python", ".ci/core_alone.py")
    tests = ["-m", "pytest", "--pyargs", "tests/core", "zrun_core"]
    if session.posargs:
        session.run("python", *tests, *session.posargs)
        return
    session.run("python", "-m", "coverage", "erase", silent=True)
    measured = ("coverage", "run", "--source=zrun_core")
    session.run("python", "-m", *measured, *tests, *PARALLEL.split(), env=SAME_NAMES)
    session.run("python", "-m", "coverage", "combine", "--quiet")
    # Every line and branch: what no test runs is not known to work.
    session.run("python", "-m", "coverage", "report", "--include=*/zrun_core/*", "--fail-under=100")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting; `nox -s lint -- --fix` mends what can be mended."""
    session.install(*_group("lint"))
    fix = "--fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []))
    session.run("ruff", "format", *([] if fix else ["--check"]))


@nox.session(python=TENSORFLOW_PYTHON)
def types(session: nox.Session) -> None:
    """Check the types of the three packages with mypy in strict mode."""
    session.install(*_group("types"), "numpy>=1.26,<3", "typing-extensions", "click", "libcst", "rich", "matplotlib")
    session.run("mypy", *session.posargs)
    session.run("pyright")


@nox.session
def checks(session: nox.Session) -> None:
    """Check spelling, what the packages import and require, what is made from the matrix, and the workflows' safety."""
    session.install(*_group("checks"))
    session.run("codespell")
    session.run("python", ".ci/generate.py", "--check")
    session.run("zizmor", "--offline", "--pedantic", ".github/workflows")
    session.run("actionlint", *sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml"))))
    session.run("shellcheck", ".ci/run")
    # The requirements are complete in the wheels alone.
    _wheels(session)
    session.run("python", ".ci/requirements.py", *map(str, sorted(_built().glob("*.whl"))))


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/site, with every warning an error."""
    session.install(*_group("docs"))
    env = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", "--config-file", "docs/mkdocs.yml", *session.posargs, env=env)
    session.run("python", ".ci/site.py", "build/site")


@nox.session
def generate(session: nox.Session) -> None:
    """Write what follows from the rows of the matrix; `-- --check` only says what differs."""
    session.install("tomli; python_version < '3.11'")
    session.run("python", ".ci/generate.py", *session.posargs)


@nox.session
def changed(session: nox.Session) -> None:
    """Test what differs from the main branch, in the corners of the matrix that this machine has."""
    since = session.posargs[0] if session.posargs else "origin/main"
    paths = differing(since, ROOT)
    chosen = chosen_tests(paths, ROOT, MATRIX["corner-tests"])
    session.log(f"{len(paths)} files differ from {since}; tests: {' '.join(chosen) or 'none'}")
    for name, row in ROWS.items() if chosen else ():
        if row.get("corner") and FOUND[row["python"]]:
            session.notify(f"matrix({name})", [*modes_of(chosen, ROOT), "-m", "not slow", *chosen])


@nox.session(python=TENSORFLOW_PYTHON)
def wheels(session: nox.Session) -> None:
    """Build the sdists and wheels into dist/ twice, compare them, also with the tested wheels, and check them."""
    session.install(*_group("build"))
    scratch = Path(session.create_tmp()).resolve()
    for folder in (ROOT / "dist", scratch / "again", scratch / "later"):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (ROOT / "dist", scratch / "again"):
        for name in PACKAGES:
            session.run("python", "-m", "build", "--outdir", str(folder), f"packages/{name}", silent=True)
    made = sorted(map(str, (ROOT / "dist").iterdir()))
    session.run("twine", "check", "--strict", *made)
    session.run("check-wheel-contents", *(path for path in made if path.endswith(".whl")))
    _wheels(session)
    folders = [str(scratch / "again"), f"--tested={_built()}", f"--later={scratch / 'later'}"]
    session.run("python", ".ci/wheels.py", "dist", *folders)


@nox.session(python=TENSORFLOW_PYTHON)
def release(session: nox.Session) -> None:
    """Do all of a release but the upload, and say what is left; `-- --dry-run` only shows the changelog."""
    wheels.func(session)
    session.install(*_group("release"))
    session.run("python", ".ci/release.py", *session.posargs)


@nox.session
def fragment(session: nox.Session) -> None:
    """Fail where the packages changed and no file in changelog.d says so (`-- BRANCH`: since when)."""
    session.run("python", ".ci/fragment.py", *session.posargs)


@nox.session(python=TENSORFLOW_PYTHON)
def examples(session: nox.Session) -> None:
    """Run each script of docs/examples as a user would."""
    _require_tensorflow_python(session)
    _install(session, "iminuit>=2.32", packages=FITTING)
    scratch = Path(session.create_tmp()).resolve()
    for script in sorted((ROOT / "docs" / "examples").glob("*.py")):
        with session.chdir(scratch):
            session.run("python", str(script), env=QUIET)


@nox.session(python=TENSORFLOW_PYTHON)
def downstream_zfit(session: nox.Session) -> None:
    """Run zfit's own tests as released and on zrun, and compare (`-- --fast`: what CI runs; `-- --help`)."""
    _require_tensorflow_python(session)
    _install(session, *_group("downstream"), packages=("zrun-core", "zrun-tf[cli]", "zrun-compat"))
    session.run("python", "tests/downstream/zfit_suite.py", *session.posargs, env=QUIET)


@nox.session(python=TENSORFLOW_PYTHON)
def zfit(session: nox.Session) -> None:
    """Run this project's tests of zfit on zrun, with zfit installed (arguments go to pytest)."""
    _require_tensorflow_python(session)
    _install(session, *_group("test"), "zfit==0.28.*", editable=True)
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "compat").glob("test_zfit*.py"))
    session.run("python", "-m", "pytest", *files, *session.posargs, env=QUIET)


@nox.session(python=TENSORFLOW_PYTHON)
def bench(session: nox.Session) -> None:
    """Compare costs with peers, print the ratios and save them in build/bench (arguments go to pytest)."""
    _require_tensorflow_python(session)
    _install(session, *_group("bench"))
    session.run("python", "-m", "pytest", "tests/benchmarks", *session.posargs, env=QUIET)
