"""From a folder of audio files to a table of clips with their emotion labels.

Notebook: 01_load.
"""

import os
import re
from pathlib import Path

import pandas as pd

from .audio import AUDIO_SUFFIXES, AudioError, audio_info
from .demo_corpus import EMOTIONS as DEMO_EMOTIONS
from .demo_corpus import make_demo_corpus

# The shared vocabulary; ps is pleasant surprise.
EMOTIONS = (*DEMO_EMOTIONS, "bored", "calm", "surprise")
EMOTION_ALIASES = {
    "anger": "angry",
    "boredom": "bored",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "pleasant_surprise": "ps",
    "pleasant_surprised": "ps",
    "sadness": "sad",
    "surprised": "surprise",
}
SPEAKER_ALIASES = {"OA": "OAF"}  # TESS: OA_bite_neutral is a typing error, not a third speaker
TESS_NAME = re.compile(
    r"(?P<speaker>[A-Z]{2,4})_(?P<text>.+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)"
)
COLUMNS = ["path", "emotion", "speaker", "text", "corpus"]


class CorpusError(ValueError):
    """A corpus that cannot be read; the message says what was found and what to do."""


def project_root():
    """Find the folder that ``data/``, ``output/`` and a relative ``SER_DATA_DIR`` count from.

    Returns
    -------
    Path
        The nearest folder at or above the working directory that holds ``environment.yml``, else
        the working directory.
    """
    here = Path.cwd()
    folders = [here, *here.parents]
    return next((folder for folder in folders if (folder / "environment.yml").is_file()), here)


def data_dir():
    """Find the corpus that the series reads.

    Returns
    -------
    Path
        The folder named by the environment variable ``SER_DATA_DIR``; if that is not set, the demo
        corpus in ``data/demo``, made at first use.

    Notes
    -----
    Notebook: 01_load.
    """
    named = os.environ.get("SER_DATA_DIR")
    if named:
        return project_root() / Path(named).expanduser()
    return make_demo_corpus(project_root() / "data" / "demo")


def output_dir():
    """Make the folder that everything computed goes into.

    Returns
    -------
    Path
        ``output/`` in the project root.

    Raises
    ------
    CorpusError
        If the folder cannot be made.
    """
    folder = project_root() / "output"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CorpusError(
            f"Results cannot be written to {folder} ({error.strerror}): make that place writable "
            "or start from another working directory."
        ) from None
    return folder


def _walk(root):
    """Yield every file under ``root``, each real folder once (a link may lead back up)."""
    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _emotion_name(folder):
    """Spell a folder's name in the shared vocabulary, ``Pleasant surprise`` as ``ps``."""
    name = re.sub(r"[\s-]+", "_", folder.strip().lower())
    return EMOTION_ALIASES.get(name, name)


def _read_tess(path, root):
    """Read ``OAF_back_angry.wav``: speaker, word, emotion."""
    match = TESS_NAME.fullmatch(path.stem)
    if not match:
        return None
    speaker = match["speaker"]
    return match["emotion"], SPEAKER_ALIASES.get(speaker, speaker), match["text"]


def _read_folders(path, root):
    """Read ``angry/any.wav``: the nearest known emotion above the file, else the top folder."""
    folders = [_emotion_name(folder) for folder in path.relative_to(root).parts[:-1]]
    known = [name for name in folders if name in EMOTIONS]
    if not folders:
        return None
    return (known or folders[:1])[-1], pd.NA, pd.NA


SCHEMES = {
    "tess": (_read_tess, "TESS names such as OAF_angry/OAF_back_angry.wav"),
    "folders": (_read_folders, "one folder per emotion such as angry/anything.wav"),
}


def _detect_scheme(paths, root):
    """Name the scheme that fits most files; a folder scheme needs one known emotion at least."""
    if sum(_read_tess(path, root) is not None for path in paths) > len(paths) / 2:
        return "tess"
    labels = {(_read_folders(path, root) or [None])[0] for path in paths}
    if labels & set(EMOTIONS):
        return "folders"
    expected = "; ".join(f"{name}: {example}" for name, (_, example) in SCHEMES.items())
    raise CorpusError(
        f"The naming scheme of {root} is not known (found {paths[0].relative_to(root)}); known "
        f"schemes are {expected}. Rename the files or folders, or force one with scheme=."
    )


def scan_corpus(root, *, scheme=None):
    """Find the clips of a corpus and read their labels from file or folder names.

    Parameters
    ----------
    root : str or Path
        Folder of the corpus; its subfolders are searched, links followed.
    scheme : {"tess", "folders"}, optional
        Naming scheme; None recognises it. ``folders`` takes one folder per emotion.

    Returns
    -------
    pd.DataFrame
        One row a clip, sorted by path: ``path``, ``emotion``, ``speaker``, ``text``, ``corpus``;
        speaker and text are ``<NA>`` where names do not tell. ``attrs["root"]`` is the corpus
        root and ``attrs["skipped"]`` lists ``(path, reason)`` of every file left out.

    Raises
    ------
    CorpusError
        If ``root`` is missing or no folder, holds no audio, or fits no known scheme.

    Notes
    -----
    Only names are read here, no sound. Notebook: 01_load.
    """
    root = Path(os.path.abspath(root))
    if scheme not in (None, *SCHEMES):
        raise CorpusError(f"scheme={scheme!r} is not known; use one of {', '.join(SCHEMES)}.")
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise CorpusError(f"{root} {what}; point SER_DATA_DIR at the folder of a corpus.")
    files = list(_walk(root))
    audio = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    if not audio:
        raise CorpusError(
            f"{root} holds {len(files)} files and none of them is audio "
            f"({', '.join(AUDIO_SUFFIXES)}); point SER_DATA_DIR at the folder of a corpus."
        )
    scheme = scheme or _detect_scheme(audio, root)
    read, example = SCHEMES[scheme]
    rows, skipped = [], []
    for path in files:
        if path.suffix.lower() not in AUDIO_SUFFIXES:
            skipped.append((str(path.relative_to(root)), "not audio"))
        elif labels := read(path, root):
            rows.append((str(path), *labels, root.name))
        else:
            skipped.append((str(path.relative_to(root)), f"does not fit {example}"))
    return _table(rows, skipped, root)


def _table(rows, skipped, root):
    """Build the table of clips, and say once what is unusual about it."""
    clips = pd.DataFrame(rows, columns=COLUMNS).astype({"speaker": "string", "text": "string"})
    if clips.empty:
        raise CorpusError(f"No file in {root} has a label; first: {skipped[0]}.")
    clips = clips.sort_values("path", ignore_index=True)
    clips.attrs = {"root": str(root), "skipped": skipped}
    unknown = sorted(set(clips["emotion"]) - set(EMOTIONS))
    if unknown:
        print(f"Emotions outside the shared vocabulary, kept as they are: {', '.join(unknown)}")
    unlabelled = [path for path, reason in skipped if reason != "not audio"]
    if unlabelled:
        print(f'{len(unlabelled)} audio files left out, listed in attrs["skipped"]')
    return clips


def relative_paths(clips):
    """Shorten the paths of a table of clips for showing.

    Parameters
    ----------
    clips : pd.DataFrame
        From `scan_corpus`.

    Returns
    -------
    pd.DataFrame
        The same table, ``path`` counting from the corpus root.
    """
    root = clips.attrs["root"]
    return clips.assign(path=[Path(os.path.relpath(p, root)).as_posix() for p in clips["path"]])


def describe_clips(clips):
    """Read the header of every clip.

    Parameters
    ----------
    clips : pd.DataFrame
        From `scan_corpus`.

    Returns
    -------
    pd.DataFrame
        The same rows with ``sr`` (Hz), ``channels``, ``subtype``, ``seconds`` and ``problem``; a
        clip that cannot be read has its reason in ``problem`` and nothing in the others.

    Notes
    -----
    No sound is decoded, so this takes about a second for thousands of clips. Notebook: 01_load.
    """
    headers = []
    for path in clips["path"]:
        try:
            headers.append(audio_info(path))
        except AudioError as error:
            headers.append({"problem": error.reason})
    columns = ["sr", "channels", "subtype", "seconds", "problem"]
    headers = pd.DataFrame(headers, columns=columns, index=clips.index)
    return clips.join(headers.astype({"sr": "Int64", "channels": "Int64", "problem": "string"}))


def matched_clips(clips):
    """Take one clip of each emotion, of the same speaker and text where the corpus has that.

    Parameters
    ----------
    clips : pd.DataFrame
        From `scan_corpus`.

    Returns
    -------
    pd.DataFrame
        One row per emotion, in alphabetical order. Where no speaker says one text in every
        emotion, simply the first clip of each.

    Notes
    -----
    Notebooks: 02_eda, 03_mfcc.
    """
    covered = clips.groupby(["speaker", "text"])["emotion"].nunique()
    if len(covered) and covered.max() == clips["emotion"].nunique():
        speaker, text = covered.idxmax()
        clips = clips[(clips["speaker"] == speaker) & (clips["text"] == text)]
    return clips.groupby("emotion").head(1).sort_values("emotion", ignore_index=True)
