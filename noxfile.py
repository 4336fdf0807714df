"""Sessions that set up what they need and run it: `nox -l` lists them, `nox -s NAME -- ARGUMENTS` runs one.

Reading this file runs nothing and reaches no network.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "core", "tests"]

ROOT = Path(__file__).parent
PACKAGES = ("zrun-core", "zrun-tf", "zrun-compat")
EVERYTHING = ("zrun-core", "zrun-tf[demo]", "zrun-compat[migrate]")
FITTING = ("zrun-core", "zrun-tf[demo]")
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")
# TensorFlow publishes wheels for these, built for CPython with the GIL.
TENSORFLOW_MINORS = (10, 11, 12, 13)
IMPORT_LIMIT_MS = 50.0
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg"}


def _can_have_tensorflow() -> bool:
    """Whether TensorFlow has wheels for the interpreter that runs nox."""
    return (
        sys.implementation.name == "cpython"
        and sys.version_info[:2] in {(3, minor) for minor in TENSORFLOW_MINORS}
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
    )


def _tensorflow_python() -> str | None:
    """The interpreter for sessions with TensorFlow: nox's own (None) if it can be, else another one found here."""
    if _can_have_tensorflow():
        return None
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    managed = Path.home() / ".local" / "share" / "uv" / "python"
    for minor in reversed(TENSORFLOW_MINORS):
        name = f"python3.{minor}"
        on_path = shutil.which(name)
        # pyenv's shims exist for versions that are not switched on, and then only print an error.
        if on_path and Path(on_path).parent.name != "shims":
            return on_path
        found = [*pyenv.glob(f"3.{minor}.*/bin/{name}"), *managed.glob(f"cpython-3.{minor}.*/bin/{name}")]
        if found:
            return str(found[0])
    return None


TENSORFLOW_PYTHON = _tensorflow_python()


def _require_tensorflow_python(session: nox.Session) -> None:
    """Stop with one sentence where no interpreter on this machine can have TensorFlow."""
    if TENSORFLOW_PYTHON is None and not _can_have_tensorflow():
        session.error(
            f"TensorFlow needs CPython 3.{TENSORFLOW_MINORS[0]} to 3.{TENSORFLOW_MINORS[-1]}: "
            f"this is {sys.implementation.name} {sys.version.split()[0]} and none of those was found on this machine; "
            "install one and run the same command again."
        )


def _group(name: str) -> list[str]:
    """The requirements of a dependency group of the root `pyproject.toml`."""
    return list(nox.project.dependency_groups(GROUPS, name))


def _install(
    session: nox.Session, *others: str, packages: tuple[str, ...] = EVERYTHING, editable: bool = False
) -> None:
    """Install packages from the checkout, as built or editable, together with other requirements."""
    arguments = []
    if session.venv_backend == "uv":
        # uv takes an installed version for the wanted one, although the checkout may have changed since, and leaves
        # compiling to the first import, which is each import where Python may not write bytecode.
        arguments = ["--compile-bytecode", *(f"--reinstall-package={name}" for name in PACKAGES)]
    for package in packages:
        arguments += ["--editable"] if editable else []
        arguments.append(f"./packages/{package}")
    session.log("Installing TensorFlow and the packages; the first time this takes some minutes and prints nothing.")
    session.install(*arguments, *others)


def _build_wheel(session: nox.Session, package: str) -> Path:
    """Build one wheel from the checkout and return where it is."""
    out = Path(session.create_tmp()).resolve() / "wheels"
    shutil.rmtree(out, ignore_errors=True)
    source = f"./packages/{package}"
    if session.venv_backend == "uv":
        session.run_install("uv", "build", "--quiet", "--wheel", "--out-dir", str(out), source)
    else:
        session.run_install("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), source)
    (wheel,) = out.glob("*.whl")
    return wheel


@nox.session(python=TENSORFLOW_PYTHON)
def demo(session: nox.Session) -> None:
    """Fit measured data and show the result (arguments go to `zrun demo`)."""
    _require_tensorflow_python(session)
    _install(session, packages=FITTING)
    session.run("zrun", "demo", *session.posargs, env={"TF_CPP_MIN_LOG_LEVEL": "2"})


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


@nox.session(python=TENSORFLOW_PYTHON)
def oldest(session: nox.Session) -> None:
    """Run every test with the oldest TensorFlow and NumPy that are supported (Python 3.10 to 3.12)."""
    _require_tensorflow_python(session)
    _install(session, *_group("test"), "tensorflow==2.16.*", "numpy==1.26.*", editable=True)
    session.run("python", "-m", "pytest", *session.posargs, env=QUIET)


@nox.session
def core(session: nox.Session) -> None:
    """Prove that the zrun-core wheel needs neither TensorFlow nor NumPy and imports fast."""
    wheel = _build_wheel(session, "zrun-core")
    again = ["--reinstall", "--compile-bytecode"] if session.venv_backend == "uv" else ["--force-reinstall"]
    session.install(*again, str(wheel))
    session.install(*_group("core-coverage"))
    absent = "import importlib.util as u; print({n: u.find_spec(n) for n in ('tensorflow', 'numpy', 'zrun_tf')})"
    found = session.run("python", "-c", absent, silent=True, log=False)
    if found is None or re.findall(r": (\w+)", found) != ["None"] * 3:
        session.error(f"This environment was to have no TensorFlow and no NumPy, but it has: {found}")
    session.log("Absent from this environment: tensorflow, numpy, zrun_tf")
    _report_import_time(session)
    tests = ["-m", "pytest", "--pyargs", "tests/core", "zrun_core"]
    if session.posargs:
        session.run("python", *tests, *session.posargs)
        return
    session.run("python", "-m", "coverage", "erase", silent=True)
    session.run("python", "-m", "coverage", "run", "--source=zrun_core", *tests)
    session.run("python", "-m", "coverage", "combine", "--quiet")
    # Every line and branch: what no test runs is not known to work.
    session.run("python", "-m", "coverage", "report", "--include=*/zrun_core/*", "--fail-under=100")


def _report_import_time(session: nox.Session) -> None:
    """Log the best of several `-X importtime` figures of `import zrun_core`, and fail where it is over the limit."""
    times: list[float] = []
    # A busy machine only ever adds to a figure, so there are more tries while the best is over the limit.
    while len(times) < 7 or (min(times) > IMPORT_LIMIT_MS and len(times) < 40):
        log = session.run("python", "-X", "importtime", "-c", "import zrun_core", silent=True, log=False)
        row = re.search(r"\|\s*(\d+) \| zrun_core$", log or "", flags=re.MULTILINE)
        if row is None:
            session.error(f"`python -X importtime` printed no row for zrun_core: {log}")
        times.append(int(row[1]) / 1000)
    figures = f"import zrun_core: {min(times):.1f} ms at best of {len(times)} runs, {max(times):.1f} ms at worst"
    if min(times) > IMPORT_LIMIT_MS:
        session.error(f"{figures}; the limit is {IMPORT_LIMIT_MS:.0f} ms.")
    session.log(f"{figures} (limit {IMPORT_LIMIT_MS:.0f} ms)")
    used = "import time; t = time.perf_counter(); from zrun_core import run; print(1000 * (time.perf_counter() - t))"
    log = session.run("python", "-c", used, silent=True, log=False)
    session.log(f"from zrun_core import run, which loads what a policy needs: {float(log or 'nan'):.1f} ms")


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


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/site, with every warning an error."""
    session.install(*_group("docs"))
    env = {"NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", "build", "--strict", "--config-file", "docs/mkdocs.yml", *session.posargs, env=env)


@nox.session
def build(session: nox.Session) -> None:
    """Build an sdist and, from it, a wheel of each package into dist/, and check them."""
    session.install(*_group("build"))
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    for name in PACKAGES:
        session.run("python", "-m", "build", "--outdir", "dist", f"packages/{name}")
    made = sorted(str(path) for path in (ROOT / "dist").iterdir())
    session.run("twine", "check", "--strict", *made)
    session.install("--no-deps", *(path for path in made if path.endswith(".whl")))
    session.run("python", "-c", "import zrun_core; print('zrun_core', zrun_core.__version__)")


@nox.session(python=TENSORFLOW_PYTHON)
def examples(session: nox.Session) -> None:
    """Run each script of docs/examples as a user would."""
    _require_tensorflow_python(session)
    _install(session, "iminuit>=2.25", packages=FITTING)
    scratch = Path(session.create_tmp()).resolve()
    for script in sorted((ROOT / "docs" / "examples").glob("*.py")):
        with session.chdir(scratch):
            session.run("python", str(script), env=QUIET)


@nox.session(python=TENSORFLOW_PYTHON)
def bench(session: nox.Session) -> None:
    """Compare costs with peers, print the ratios and save them in build/bench (arguments go to pytest)."""
    _require_tensorflow_python(session)
    _install(session, *_group("bench"))
    session.run("python", "-m", "pytest", "tests/benchmarks", *session.posargs, env=QUIET)
