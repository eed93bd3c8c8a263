"""Long work on many clips: on all cores, with a bar that shows how far it is.

Notebook: 03_mfcc.
"""

import sys

import joblib
from tqdm import tqdm


def progress_bar(iterable=None, *, unit="clips", **kwargs):
    """A tqdm bar on stdout without times, so that a re-executed notebook shows the same line."""
    return tqdm(
        iterable,
        file=sys.stdout,
        mininterval=0.5,
        unit=unit,
        bar_format="{desc}: {n_fmt}/{total_fmt} {unit} |{bar:30}| {percentage:.0f}%",
        **kwargs,
    )


def map_clips(function, clips, *, desc, n_jobs=-1, done=0):
    """Apply a function to each clip, in parallel, with a progress bar.

    Parameters
    ----------
    function : callable
        Takes one item of ``clips``; must be importable by a worker process.
    clips : sequence
        Paths, or whatever names a clip.
    desc : str
        What is being done, shown before the bar.
    n_jobs : int
        Processes; -1 means all cores, 1 means none beside this one.
    done : int
        How many of the first clips are finished already and are passed over.

    Yields
    ------
    object
        The results, in the order of ``clips``, as soon as they are there.

    Notes
    -----
    joblib's ``parallel_config`` chooses another backend.
    """
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    results = parallel(joblib.delayed(function)(clip) for clip in clips[done:])
    yield from progress_bar(results, total=len(clips), initial=done, desc=desc)
