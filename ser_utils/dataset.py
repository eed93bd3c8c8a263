"""From a folder of audio files to a table of clips with their emotion labels.

Notebook: 01_load.
"""

import os
import re
import tomllib
from pathlib import Path

import pandas as pd

from .audio import AUDIO_SUFFIXES, AudioError, audio_info
from .corpora.demo_corpus import EMOTIONS as DEMO_EMOTIONS
from .corpora.demo_corpus import make_demo_corpus
from .parallel import progress_bar

# The shared vocabulary; ps is pleasant surprise.
EMOTIONS = (*DEMO_EMOTIONS, "bored", "calm", "surprise")
REGISTRIES = Path(__file__).parent / "corpora" / "registries"  # what is known of public corpora
NAMES = tomllib.loads((REGISTRIES / "names.toml").read_text(encoding="utf-8"))
EMOTION_ALIASES, NAME_ALIASES = NAMES["emotions"], NAMES["typing_errors"]
SCHEMES = NAMES["schemes"]  # how corpora write their labels into names; explained there
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
    if named := os.environ.get("SER_DATA_DIR"):
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
        problem = f"Results cannot be written to {folder} ({error.strerror})"
        todo = "make that place writable or start from another working directory"
        raise CorpusError(f"{problem}: {todo}.") from None
    return folder


def _walk(root):
    """Yield every file under ``root`` as a path from there, each real folder once."""
    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link may lead back up
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if name[0] != ".")
        below = Path(folder).relative_to(root)
        yield from ((below / name).as_posix() for name in sorted(names) if name[0] != ".")


def emotion_name(name):
    """Spell an emotion in the shared vocabulary, ``Pleasant surprise`` as ``ps``."""
    name = re.sub(r"[\s-]+", "_", name.strip().lower())
    return EMOTION_ALIASES.get(name, name)


def folder_emotion(path):
    """Find the emotion that the folders of a clip tell, the nearest known one.

    Parameters
    ----------
    path : str
        The clip, counting from the corpus root: ``OAF_Fear/OAF_back_fear.wav``.

    Returns
    -------
    str or None
        In the shared vocabulary; None if no folder is named after a known emotion.
    """
    for folder in reversed(path.split("/")[:-1]):
        for name in (folder, re.sub(r"^[A-Z]{2,4}_", "", folder)):  # with and without the speaker
            if emotion_name(name) in EMOTIONS:
                return emotion_name(name)
    return None


def _read_labels(paths, root, scheme):
    """Read the labels in the end of each path; None where a path does not fit the scheme."""
    if scheme == "folders":
        return _read_folders(paths)
    pattern = re.compile(rf"(?:^|/)({SCHEMES[scheme]['pattern']})$")
    codes = dict(code.split(":") for code in SCHEMES[scheme]["codes"].split())
    labels = []
    for path in paths:  # the name of the root counts: it may be the speaker
        folder, name = os.path.split(os.path.splitext(f"{root.name}/{path}")[0])
        match = pattern.search(f"{folder}/{NAME_ALIASES.get(name, name)}")
        emotion = match and codes.get(match["emotion"])
        found = match.groupdict() | {"emotion": emotion, "name": match[1]} if emotion else None
        labels.append(found)
    return labels


def _read_folders(paths):
    """Read ``angry/any.wav``: the nearest known emotion above the file, else the top folder."""
    labels = []
    for path in paths:
        top, *below = path.split("/")
        emotion = folder_emotion(path) or emotion_name(top)
        labels.append({"emotion": emotion} if below else None)
    return labels


def _recognise_labels(paths, root):
    """Read the labels by the scheme that fits most files; folders need one known emotion."""
    for scheme in SCHEMES:
        if scheme != "folders":
            labels = _read_labels(paths, root, scheme)
            if sum(found is not None for found in labels) > len(paths) / 2:
                return labels
    if any(folder_emotion(path) for path in paths):
        return _read_folders(paths)
    expected = "; ".join(f"{name}: {known['example']}" for name, known in SCHEMES.items())
    problem = f"The naming scheme of {root} is not known (found {paths[0]})"
    todo = "Rename the files or folders, or force one with scheme=."
    raise CorpusError(f"{problem}; known schemes are {expected}. {todo}")


def _copy_of(path, labels, root, known):
    """Name the file that ``path`` is a second copy of, None if it is the first."""
    if "name" in labels:  # the whole label is in the name, so one name is one clip
        return known.setdefault(labels["name"], path)
    known[path] = path
    parts = path.split("/")
    for i in range(1, len(parts)):
        inner = "/".join(parts[i:])
        if inner in known and (root / inner).stat().st_size == (root / path).stat().st_size:
            return inner
    return path


def _conflict(emotion, path):
    """Say how the name of a clip and its folder disagree, None if they do not."""
    folder = folder_emotion(path)
    if folder is None or emotion == folder or {emotion, folder} == {"ps", "surprise"}:
        return None  # some mirrors of TESS call ps surprise
    return f"the name says {emotion}, the folder {folder}"


def _scan_folder(root, scheme, trust):
    """Read one corpus: rows of the table, what was left out, and what disagrees and was kept."""
    files = list(progress_bar(_walk(root), desc="scan", delay=2))
    audio = [path for path in files if path.lower().endswith(AUDIO_SUFFIXES)]
    if not audio:
        found = f"{len(files)} files and none of them is audio ({', '.join(AUDIO_SUFFIXES)})"
        raise CorpusError(f"{root} holds {found}; point SER_DATA_DIR at the folder of a corpus.")
    skipped = [(path, "not audio") for path in files if not path.lower().endswith(AUDIO_SUFFIXES)]
    audio.sort(key=lambda path: (path.count("/"), path))  # of two copies the upper one stays
    rows, conflicts, known = [], [], {}
    found = _read_labels(audio, root, scheme) if scheme else _recognise_labels(audio, root)
    for path, labels in zip(audio, found, strict=True):
        if labels is None:
            skipped.append((path, "its name does not fit the others"))
        elif (first := _copy_of(path, labels, root, known)) != path:
            skipped.append((path, f"second copy of {first}"))
        elif (conflict := _conflict(labels["emotion"], path)) and trust is None:
            skipped.append((path, conflict))
        else:
            if conflict:
                conflicts.append((path, conflict))
                labels["emotion"] = folder_emotion(path) if trust == "folder" else labels["emotion"]
            rows.append(labels | {"path": os.path.join(root, path)})
    return rows, skipped, conflicts


def _scan_csv(file):
    """Read a table of path, emotion and whatever else; paths count from its folder."""
    try:
        table = pd.read_csv(file, dtype="string", encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError) as error:  # pandas' errors of parsing are ValueErrors
        raise CorpusError(f"{file} cannot be read as a CSV table: {error}") from None
    if not {"path", "emotion"} <= set(table.columns):
        needed = "it needs path,emotion and may have speaker,text, separated by commas"
        raise CorpusError(f"{file} has the columns {', '.join(table.columns)}; {needed}.")
    rows, skipped, seen = [], [], set()
    for row in table.to_dict("records"):
        named = str(row["path"])
        path = Path(os.path.normpath(file.parent / named))
        if pd.isna(row["path"]) or pd.isna(row["emotion"]):
            skipped.append((named, "its row names no path or no emotion"))
        elif path in seen:
            skipped.append((named, "named in two rows"))
        elif not path.is_file():
            skipped.append((named, "there is no such file"))
        else:
            seen.add(path)
            rows.append(row | {"path": str(path), "emotion": emotion_name(row["emotion"])})
    return rows, skipped, []


def _scan(root, scheme, trust):
    """Read a folder or a CSV table."""
    if root.is_dir():
        return _scan_folder(root, scheme, trust)
    if root.is_file() and root.suffix.lower() == ".csv":
        return _scan_csv(root)
    what = "is a file, not a folder or a CSV table" if root.exists() else "does not exist"
    raise CorpusError(f"{root} {what}; point SER_DATA_DIR at the folder of a corpus.")


def scan_corpus(root, *, scheme=None, emotions=None, trust=None):
    """Find the clips of a corpus and read their labels from file or folder names.

    Parameters
    ----------
    root : str or Path, or list of them
        Folder of the corpus; its subfolders are searched, links followed. Or a CSV file with the
        columns ``path,emotion`` and, if known, ``speaker,text``. Of several roots one table is
        made, and as speakers of two corpora may share a name, they become ``emodb/03``.
    scheme : {"tess", "ravdess", "emodb", "savee", "cremad", "folders"}, optional
        Naming scheme; None recognises it. ``folders`` takes one folder per emotion.
    emotions : dict of str to str or None, optional
        Emotions to rename, such as ``{"ps": "surprise"}``; None instead of a name leaves one out.
    trust : {"name", "folder"}, optional
        Whose emotion counts where name and folder disagree; None leaves such a clip out.

    Returns
    -------
    pd.DataFrame
        One row a clip, sorted by path: ``path``, ``emotion``, ``speaker``, ``text``, ``corpus``,
        and what else the names tell (RAVDESS: ``intensity``, ``statement``, ``repetition``,
        ``actor``, as numbered there); ``<NA>`` where they do not. ``attrs["root"]`` is the corpus
        root, ``attrs["skipped"]`` lists ``(path, reason)`` of every file left out, and
        ``attrs["conflicts"]`` the clips kept although name and folder disagree.

    Raises
    ------
    CorpusError
        If ``root`` is missing or no folder, holds no audio, or fits no known scheme.

    Notes
    -----
    Only names are read here, no sound. A file with the name of another one in a corpus whose
    names hold the labels, or in a copy of the corpus inside itself, is a second copy.
    Notebook: 01_load.
    """
    if scheme not in (None, *SCHEMES):
        raise CorpusError(f"scheme={scheme!r} is not known; use one of {', '.join(SCHEMES)}.")
    if trust not in (None, "name", "folder"):
        raise CorpusError(f'trust={trust!r} is not known; use "name", "folder" or None.')
    roots = [root] if isinstance(root, str | os.PathLike) else list(root)
    roots = [Path(os.path.abspath(root)) for root in roots]
    tables = [_table(root, *_scan(root, scheme, trust)) for root in roots]
    clips = tables[0] if len(roots) == 1 else _join(tables, roots)
    return _choose_emotions(clips, emotions or {})


def _table(root, rows, skipped, conflicts):
    """Build the table of one corpus."""
    if not rows:
        raise CorpusError(f"No file in {root} has a label; first: {': '.join(skipped[0])}.")
    clips = pd.DataFrame(rows).drop(columns="name", errors="ignore").assign(corpus=root.stem)
    others = [column for column in clips.columns if column not in COLUMNS]
    clips = clips.reindex(columns=[*COLUMNS, *others]).sort_values("path", ignore_index=True)
    clips = clips.astype({column: "string" for column in ["speaker", "text", *others]})
    folder = str(root if root.is_dir() else root.parent)
    clips.attrs = {"root": folder, "skipped": skipped, "conflicts": conflicts}
    return clips


def _join(tables, roots):
    """Put several corpora into one table, with speakers that cannot be mixed up."""
    names = [clips["corpus"].iloc[0] for clips in tables]
    if len(set(names)) < len(names):
        raise CorpusError(f"Two corpora have one name ({', '.join(names)}); rename a folder.")
    top = os.path.commonpath(roots)
    attrs = {"root": top, "skipped": [], "conflicts": []}
    for clips in tables:
        for kind in ("skipped", "conflicts"):
            for path, reason in clips.attrs[kind]:
                attrs[kind].append((os.path.relpath(Path(clips.attrs["root"], path), top), reason))
    clips = pd.concat(tables).sort_values("path", ignore_index=True)
    clips["speaker"] = clips["corpus"] + "/" + clips["speaker"]
    if clips["path"].duplicated().any():
        raise CorpusError(f"One corpus lies inside another: {', '.join(map(str, roots))}.")
    clips.attrs = attrs
    return clips


def _choose_emotions(clips, emotions):
    """Rename emotions or leave them out as told, and say once what is unusual about a table."""
    if unused := sorted(set(emotions) - set(clips["emotion"])):
        found = ", ".join(sorted(set(clips["emotion"])))
        raise CorpusError(f"emotions= names {', '.join(unused)}; the corpus has {found}.")
    renamed = clips["emotion"].map(lambda emotion: emotions.get(emotion, emotion))
    clips = clips.assign(emotion=renamed).dropna(subset="emotion").reset_index(drop=True)
    if unknown := sorted(set(clips["emotion"]) - set(EMOTIONS)):
        print(f"Emotions outside the shared vocabulary, kept as they are: {', '.join(unknown)}")
    if left_out := [skipped for skipped in clips.attrs["skipped"] if skipped[1] != "not audio"]:
        first = ": ".join(left_out[0])
        print(f'{len(left_out)} audio files left out, listed in attrs["skipped"]; first: {first}')
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
    Notebooks: 02_eda, 03_mfcc, 06_features.
    """
    covered = clips.groupby(["speaker", "text"])["emotion"].nunique()
    if len(covered) and covered.max() == clips["emotion"].nunique():
        speaker, text = covered.idxmax()
        clips = clips[(clips["speaker"] == speaker) & (clips["text"] == text)]
    return clips.groupby("emotion").head(1).sort_values("emotion", ignore_index=True)
