"""Fetch a public corpus from its official source, every clip checked.

Notebook: 01_load.
"""

import json
import shutil
import stat
import sys
import tomllib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import joblib
import pooch
import requests
from tqdm import tqdm

from ..dataset import REGISTRIES, project_root
from ..parallel import map_clips
from .audit import official_checksums

TIMEOUT = 20  # seconds that a server may be silent
RETRIES = 2  # for each file; pooch waits one second, then two
THREADS = 4
MAX_GROWTH = 20  # RAVDESS unpacks to three times its zip; a zip that grows far more is a trap
AGAIN = "run the same call again, it fetches only what is missing"


class DownloadError(ValueError):
    """A corpus that was not fetched; the message says why and what to do."""


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from, and on what terms."""

    terms: str
    page: str
    base: str
    path: str  # under base: a zip, or Dataverse's list of single files
    checksum: str | None = None  # of the zip


KNOWN = tomllib.loads((REGISTRIES / "sources.toml").read_text(encoding="utf-8"))
SOURCES = {name: Source(**facts) for name, facts in KNOWN["sources"].items()}
BY_HAND = KNOWN["by_hand"]


def fetch_corpus(name, target, *, accept_terms=False):
    """Download a corpus from its official source and check every clip.

    Parameters
    ----------
    name : {"tess", "ravdess", "emodb"}
        Which corpus.
    target : str or Path
        Folder to make; a relative one counts from the project root. Until all is there, the work
        is in ``<target>.partial`` beside it.
    accept_terms : bool
        True once you have read the terms on the source's page and agree; otherwise nothing is
        fetched and the error states size, licence and page.

    Returns
    -------
    Path
        The complete corpus, ready for `scan_corpus`.

    Raises
    ------
    DownloadError
        If the terms are not accepted, the name is not known, ``target`` holds something else, or
        the download fails. After that, or an interrupt, the same call fetches what is missing.

    Notes
    -----
    Notebook: 01_load.
    """
    key = str(name).lower().replace("-", "")
    if key in BY_HAND:
        raise DownloadError(f"{BY_HAND[key]}, and point SER_DATA_DIR there.")
    if key not in SOURCES:
        raise DownloadError(f"{name!r} cannot be fetched; use one of {', '.join(SOURCES)}.")
    name, source = key, SOURCES[key]
    facts = f"{name}: {source.terms}; the terms in force: {source.page}"
    if not accept_terms:
        raise DownloadError(f"{facts}; read them and, if you agree, pass accept_terms=True.")
    print(facts)
    target = (project_root() / Path(target).expanduser()).resolve()
    work = target.with_name(f"{target.name}.partial")
    checksums = official_checksums(name)
    try:
        if target.exists() and not _wrong_files(target, checksums):
            return target
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            problem = f"{target} is there already and is not the complete {name}"
            raise DownloadError(f"{problem}; name a new folder.")
        fetch = _fetch_archive if ".zip" in source.path else _fetch_files
        fetch(source, work, checksums)
        _finish(source, work, target, checksums)
    except DownloadError as error:
        raise error from None  # joblib hangs a thread's traceback on it
    except OSError as error:
        where, why = error.filename or work, error.strerror or error
        raise DownloadError(f"{where} cannot be used ({why}); mend that and {AGAIN}.") from None
    return target


def _wrong_files(folder, checksums):
    """Name the official clips that a folder lacks or has with other content."""
    found = {path.name: path for path in folder.rglob("*.wav") if path.is_file()}
    return [
        name
        for name, checksum in checksums.items()
        if name not in found or f"sha256:{pooch.file_hash(found[name])}" != checksum
    ]


def _fetch(url, path, checksum, download=None):
    """Fetch one file, unless it is there; it gets its name once its checksum is right."""
    pooch.get_logger().setLevel("WARNING")  # else it prints two lines a file
    name = path.name
    fetcher = pooch.create(path.parent, "", registry={name: checksum}, urls={name: url})
    fetcher.retry_if_failed = RETRIES
    try:
        fetcher.fetch(name, downloader=download or pooch.HTTPDownloader(timeout=TIMEOUT))
        return path
    except requests.HTTPError as error:
        problem = f"the server answered {error.response.status_code} {error.response.reason}"
    except requests.RequestException:
        problem = f"no connection, or it broke off, or was silent for {TIMEOUT} s"
    except ValueError:
        problem = f"what came is not the official {name} (its checksum differs)"
    raise DownloadError(f"{url}: {problem}; {AGAIN}.")


def _fetch_files(source, work, checksums):
    """Fetch the single files of a Dataverse; its list of them is asked for once."""
    corpus, url = work / "corpus", f"{source.base}/{source.path}"
    corpus.mkdir(parents=True, exist_ok=True)
    (work / "list.json").unlink(missing_ok=True)  # of an earlier call
    text = _fetch(url, work / "list.json", None).read_bytes()
    try:
        files = [file["dataFile"] for file in json.loads(text)["data"]["latestVersion"]["files"]]
        urls = {file["filename"]: f"{source.base}/access/datafile/{file['id']}" for file in files}
    except (ValueError, LookupError, TypeError):
        raise DownloadError(f"{url}: what came is no list of files; {AGAIN}.") from None
    clips = [(urls[name], corpus / name, checksums[name]) for name in checksums if name in urls]
    with joblib.parallel_config(backend="threading"):
        list(map_clips(lambda clip: _fetch(*clip), clips, desc="fetched", n_jobs=THREADS))
    for path in corpus.iterdir():
        if path.name in checksums:
            path.chmod(0o644)  # pooch leaves a file readable by its owner only
        else:
            path.unlink()  # pooch's temporary file, left by a call that was killed


def _fetch_archive(source, work, checksums):
    """Fetch a zip and unpack its clips."""
    corpus, url = work / "corpus", f"{source.base}/{source.path}"
    archive = _fetch(url, work / "archive.zip", source.checksum, _download_with_bar)
    shutil.rmtree(corpus, ignore_errors=True)  # half unpacked by an earlier call
    try:
        _extract(archive, corpus, checksums)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        archive.unlink()
        raise DownloadError(f"{url}: not unpacked, {error}; run the same call again.") from None


def _download_with_bar(url, path, fetcher):
    """Download one large file, counting bytes on stdout."""
    style = "{desc}: {n_fmt}B/{total_fmt}B |{bar:30}| {percentage:.0f}%"
    # pooch sets the total once it is known, but looks at it before
    with tqdm(desc="fetched", total=1, unit_scale=True, file=sys.stdout, bar_format=style) as bar:
        pooch.HTTPDownloader(bar, chunk_size=2**16, timeout=TIMEOUT)(url, path, fetcher)


def _extract(archive, corpus, checksums):
    """Unpack the official clips of a zip in their folders; nothing of a zip that could do harm."""
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            path = PureWindowsPath(member.filename)  # knows drives and both kinds of slash
            if stat.S_ISLNK(member.external_attr >> 16) or path.anchor or ".." in path.parts:
                raise zipfile.BadZipFile(f"{member.filename!r} would lead outside the folder")
        # backwards, so that of doubled copies the first one stays
        members = [member for member in zipped.infolist()[::-1] if not member.is_dir()]
        clips = {PurePosixPath(member.filename).name: member for member in members}
        clips = [clips[name] for name in checksums if name in clips]
        if sum(clip.file_size for clip in clips) > MAX_GROWTH * archive.stat().st_size:
            raise zipfile.BadZipFile(f"it would grow more than {MAX_GROWTH} times")
        zipped.extractall(corpus, clips)


def _finish(source, work, target, checksums):
    """Give the corpus its name, if all of it is there."""
    if wrong := _wrong_files(work / "corpus", checksums):
        (work / "archive.zip").unlink(missing_ok=True)
        problem = f"{len(wrong)} of {len(checksums)} clips from {source.base} are missing"
        problem += f" or not the official ones, first {wrong[0]}"
        raise DownloadError(f"{problem}; see {source.page}, the others are in {work}.")
    if target.exists():
        target.rmdir()  # empty; Windows renames onto nothing
    (work / "corpus").rename(target)
    shutil.rmtree(work, ignore_errors=True)
