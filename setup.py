"""What a wheel carries beside the library, and a checkout keeps where readers look for it: see lessons/shipped.py."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = (
    *("notebooks/*.ipynb", "benchmarks/results/*.json", "workflow/**/*", "docs/*.md"),
    *("data/README.md", "data/example_ct/**/*", "data/splits/*.txt"),
)


class BuildWithLessons(build_py):
    """Copies them into the package; an editable installation has the checkout itself."""

    def run(self):
        super().run()
        for path in () if self.editable_mode else (path for pattern in CARRIED for path in Path().glob(pattern)):
            if path.is_file():
                target = Path(self.build_lib, "msa2net_lib", "shipped", path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


setup(cmdclass={"build_py": BuildWithLessons})
