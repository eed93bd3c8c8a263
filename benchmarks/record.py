"""What the benchmarks do alike: keep a record of finished fits, and describe clips.

A record is a CSV beside this file. A fit that is in it is not made again, so an interrupted run
goes on where it stopped.
"""

import datetime
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent


class Record:
    """A CSV of finished fits.

    Parameters
    ----------
    name : str or pathlib.Path
        The file's name beside this module, or any other path.
    keys : list of str
        Columns that tell one fit from another.
    """

    def __init__(self, name, keys):
        self.path, self.keys = HERE / name, list(keys)
        self.state = None  # of the file when it was last read
        self.commit = commit()  # now, not when a fit is done: the code may change meanwhile

    def rows(self, key):
        """Find the rows of one fit, with all columns as text.

        The file is read anew when it has changed, so another run may write to it, too. As text,
        since pandas takes folds that are called 0 and 1 for numbers.
        """
        if not self.path.exists():
            return pd.DataFrame(columns=self.keys)
        status = self.path.stat()
        if self.state != (status.st_mtime_ns, status.st_size):
            self.state = status.st_mtime_ns, status.st_size
            self.table = pd.read_csv(self.path, dtype=str, keep_default_na=False)
            self.places = self.table.groupby(self.keys).indices
        return self.table.iloc[self.places.get(tuple(map(str, key)), [])]

    def __contains__(self, key):
        return not self.rows(key).empty

    def append(self, key, rows):
        """Append the rows of a finished fit with the date and the commit.

        Parameters
        ----------
        key : sequence
            Values of the key columns.
        rows : pandas.DataFrame or list of dict
            The other columns, in any order; floats are rounded to 4 places. Of date and commit
            only those are written that the file has a column for.

        Raises
        ------
        ValueError
            If the other columns are not those of the file.
        """
        stamp = {"date": datetime.date.today(), "commit": self.commit}
        table = pd.DataFrame(rows).round(4).assign(**dict(zip(self.keys, key, strict=True)))
        columns = [*self.keys, *table.columns.drop(self.keys), *stamp]
        new = not self.path.exists()
        if not new:
            columns = pd.read_csv(self.path, nrows=0).columns
            if set(columns) - set(stamp) != set(table):
                raise ValueError(f"{self.path.name} has other columns: {', '.join(columns)}.")
        table.assign(**stamp)[columns].to_csv(self.path, mode="a", header=new, index=False)


def commit():
    """Name the state of the code; empty outside of a repository."""
    git = ["git", "-C", str(HERE)]
    named = subprocess.run([*git, "describe", "--always"], capture_output=True, text=True)
    # A record that has grown changes nothing of what rows are made by.
    others = [":/", ":(top,exclude)*.csv"]
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *others], capture_output=True)
    return named.stdout.strip() + "-dirty" * (changed.returncode == 1)


def to_letters(classes):
    """Write classes as text, a letter for each clip: a is the first class."""
    return "".join(chr(ord("a") + number) for number in classes)


def from_letters(text):
    """Read what `to_letters` wrote."""
    return np.frombuffer(text.encode(), np.uint8) - ord("a")


def mean_and_deviation(X, n_frames, parts=1):
    """Describe each clip by the mean and the deviation of each column.

    Parameters
    ----------
    X : np.ndarray [shape=(n_clips, n_frames, n_columns)]
    n_frames : np.ndarray of int [shape=(n_clips,)]
        Frames of each clip that are not filling.
    parts : int
        Equal parts of the clip, each described on its own.

    Returns
    -------
    np.ndarray [shape=(n_clips, 2 * parts * n_columns)]
        All means, part by part, then all deviations.
    """
    rows = []
    for x, n in zip(X, n_frames, strict=True):
        stretches = np.array_split(x[: max(n, parts)], parts)
        described = [[part.mean(axis=0), part.std(axis=0)] for part in stretches]
        rows.append(np.hstack(described).ravel())
    return np.array(rows)
