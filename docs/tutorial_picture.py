"""Draws the picture of the tutorial, by running the page.

python docs/tutorial_picture.py docs/site/tutorial-fit.svg

It needs Matplotlib and SciPy beside zrun-tf.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.pages import SITE, run_page


def main(out):
    """Run the page's blocks in a folder that goes, and keep the picture that its last block saves."""
    mpl.use("Agg")
    # The same picture has the same bytes.
    mpl.rcParams["svg.hashsalt"] = "zrun"
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run_page(SITE / "tutorial.md")
        shutil.move("fit.svg", out)
        os.chdir(ROOT)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
