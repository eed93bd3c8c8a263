"""What is wrong with a corpus, found before it spoils a result.

Notebook: 01_load; the other notebooks leave out what it flags.
"""

import hashlib
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from ..audio import AudioError, read_audio
from ..dataset import REGISTRIES, relative_paths
from ..extraction import cache_folder
from ..parallel import map_clips

RELEASES = ("tess", "ravdess", "emodb")  # those with checksums of all their wavs
FAMILIES = {"WAVEX": "WAV", "RF64": "WAV", "MPEG": "MP3"}  # containers whose suffix is another one
HEADER = {"sr": "sample rate", "channels": "channels", "subtype": "sample format"}


def official_checksums(corpus):
    """Read the checksums of a corpus's official wavs.

    Parameters
    ----------
    corpus : {"tess", "ravdess", "emodb"}
        Whose files.

    Returns
    -------
    dict of str to str
        ``sha256:...`` by file name, as pooch has it.
    """
    lines = (REGISTRIES / f"{corpus}.txt").read_text().splitlines()
    return dict(line.split() for line in lines)


def _measure(clip):
    """Read one clip whole, its file once, and note what the checks look at."""
    path, is_official = clip
    content, checksum = path, None
    try:
        if is_official:
            content = io.BytesIO(Path(path).read_bytes())
            checksum = f"sha256:{hashlib.sha256(content.getbuffer()).hexdigest()}"
        y, header = read_audio(content)
    except (AudioError, OSError) as error:
        return {"problem": getattr(error, "reason", str(error))}
    level = np.abs(y)
    peak = level.max()
    return header | {
        "peak": float(peak),
        "clipped": np.count_nonzero(level >= 0.999 * peak) / len(y),
        "dc_offset": float(y.mean(dtype=float)),
        "samples": f"{header['sr']} {len(y)} {zlib.crc32(y)}",  # enough to tell recordings apart
        "checksum": checksum,
    }


def _measure_all(paths, n_jobs, cache):
    """Measure every clip; what is finished outlives a kill, a line of JSON for each clip."""
    names = {name for release in RELEASES for name in official_checksums(release)}
    wavs = {path for path in paths if path.lower().endswith(".wav")}
    clips = [(path, path in wavs and f"{Path(path).stem}.wav" in names) for path in paths]
    with cache_folder(paths, "audit", cache=cache) as (folder, _):
        file = folder / "audit.jsonl"
        done = _read_lines(file)
        with file.open("w", buffering=1, encoding="utf-8") as lines:
            lines.writelines(f"{json.dumps(measured)}\n" for measured in done)
            for measured in map_clips(_measure, clips, desc="audit", n_jobs=n_jobs, done=len(done)):
                lines.write(f"{json.dumps(measured)}\n")
                done.append(measured)
    return done


def _read_lines(file):
    """Read what an earlier audit finished; the last line may be torn, or the file damaged."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]
    except (OSError, ValueError):
        return []


def _compare(clips):
    """Add what is usual among the clips of one corpus, suffix and text."""
    alike = clips.groupby(["corpus", "suffix"])
    for column in HEADER:
        clips[f"usual_{column}"] = alike[column].transform(lambda values: values.mode().get(0))
    seconds = clips.groupby("corpus")["seconds"].transform("median")
    text = clips.groupby(["corpus", "text"], dropna=False)["seconds"]
    clips["usual_seconds"] = text.transform("median").where(text.transform("size") > 2, seconds)
    same = clips.groupby("samples")
    clips["first_name"] = same["clip"].transform("first")
    clips["one_label"] = same["emotion"].transform("nunique") == 1
    return clips


def _check_clip(clip, silence, clipping, dc_offset, length):
    """Yield what, value, expected and severity of each finding in one clip."""
    if pd.notna(clip.problem):
        yield "unreadable", clip.problem, "sound", "error"
        return
    expected = clip.suffix[1:].upper()
    if FAMILIES.get(clip.container, clip.container) != expected:
        yield "container", clip.container, expected, "error"
    for column, what in HEADER.items():
        value, usual = getattr(clip, column), getattr(clip, f"usual_{column}")
        if value != usual:
            yield what, value, usual, "warning"
    shortest, longest = (share * clip.usual_seconds for share in length)
    if not shortest <= clip.seconds <= longest:
        yield "length", f"{clip.seconds:.2f} s", f"{shortest:.2f} to {longest:.2f} s", "warning"
    if clip.peak < silence:
        yield "silence", f"peak {clip.peak:.2g}", f"from {silence:g} up", "error"
    elif clip.clipped > clipping:
        share = f"{clip.clipped:.2%} of samples at the peak"
        yield "clipping", share, f"up to {clipping:.2%}", "warning"
    if abs(clip.dc_offset) > dc_offset:
        yield "DC offset", f"{clip.dc_offset:.3f}", f"within {dc_offset:g}", "warning"
    if clip.first_name != clip.clip:
        yield "duplicate", f"same samples as {clip.first_name}", "one name", "error"
    elif not clip.one_label:
        yield "duplicate", "same samples under another emotion", "one emotion", "error"


def _check_scan(attrs):
    """Yield what `scan_corpus` left out, and what it kept although two labels disagree."""
    for clip, reason in attrs["skipped"]:
        if reason != "not audio":
            yield clip, "left out", reason, "one label, one name", "note"
    for clip, conflict in attrs["conflicts"]:
        yield clip, "label", conflict, "one label", "warning"


def _check_design(clips, share):
    """Yield the cells of speaker x emotion x text that nobody filled, where most are filled."""
    for _, labels in clips.groupby("corpus")[["speaker", "emotion", "text"]]:
        labels = labels.dropna().drop_duplicates()
        design = pd.MultiIndex.from_product([labels[name].unique() for name in labels])
        missing = design.difference(pd.MultiIndex.from_frame(labels))
        if len(missing) <= (1 - share) * len(design):
            for cell in missing:
                yield pd.NA, "missing", " ".join(cell), "speaker x emotion x text", "note"


def _check_release(clips):
    """Yield the wavs that bear the name of an official one and are another file."""
    names = clips["path"].map(lambda path: Path(path).stem + ".wav")
    wav = clips["suffix"] == ".wav"
    for release in RELEASES:
        official = official_checksums(release)
        not_checked = (names.isin(official) & ~wav).sum()
        if not_checked:
            value = f"not checked: {not_checked} clips are not wavs"
            yield pd.NA, "checksum", value, f"the release of {release}", "note"
        known = clips[names.isin(official) & wav & clips["problem"].isna()]
        other = known[known["checksum"] != names[known.index].map(official)]
        if len(other) > len(known) / 2:  # not a few damaged clips, but another edition
            value = f"{len(other)} of {len(known)} wavs are other files"
            yield pd.NA, "checksum", value, f"the release of {release}", "warning"
        else:
            for clip, checksum in other[["clip", "checksum"]].itertuples(index=False):
                expected = official[Path(clip).stem + ".wav"]
                yield clip, "checksum", checksum[:19], expected[:19], "error"


def audit_corpus(
    clips,
    *,
    silence=0.001,
    clipping=0.001,
    dc_offset=0.02,
    length=(0.5, 3.0),
    design=0.9,
    n_jobs=-1,
    cache=True,
):
    """Look for whatever is wrong with a corpus, file by file and as a whole.

    Parameters
    ----------
    clips : pd.DataFrame
        From `ser_utils.dataset.scan_corpus`.
    silence : float
        Least peak of a clip that is not silent (full scale is 1; 0.001 is -60 dB).
    clipping : float
        Largest share of samples at the peak.
    dc_offset : float
        Largest distance of the mean from zero (full scale is 1).
    length : tuple of two floats
        Shortest and longest, as a share of the median of the clips of the same corpus and text.
    design : float
        Share of speaker x emotion x text from which on an empty cell counts as missing.
    n_jobs : int
        Processes; -1 means all cores.
    cache : bool
        Whether to look into ``output/cache`` for what was measured in the same clips (path, size,
        time of change), and to keep it there. An audit that was interrupted goes on there.

    Returns
    -------
    pd.DataFrame
        One row a finding: ``clip`` (from the corpus root, ``<NA>`` for the whole corpus),
        ``what``, ``value``, ``expected``, ``severity``: an *error* is a clip to leave out, a
        *warning* one to listen to, a *note* good to know.

    Notes
    -----
    Sample rate, channels and sample format are compared with those of most clips, checksums with
    the official wavs of TESS, RAVDESS and EmoDB. Notebook: 01_load.
    """
    columns = ["problem", "sr", "channels", "subtype", "seconds", "container", "peak", "clipped"]
    columns += ["dc_offset", "samples", "checksum"]
    measured = _measure_all(clips["path"].tolist(), n_jobs, cache)
    measured = pd.DataFrame(measured, columns=columns, index=clips.index)
    measured = measured.astype({"sr": "Int64", "channels": "Int64"})
    files = clips.assign(clip=relative_paths(clips)["path"]).join(measured)
    files["suffix"] = [Path(path).suffix.lower() for path in clips["path"]]
    findings = [
        (clip.clip, *finding)
        for clip in _compare(files).itertuples()
        for finding in _check_clip(clip, silence, clipping, dc_offset, length)
    ]
    findings += [*_check_scan(clips.attrs), *_check_design(clips, design), *_check_release(files)]
    findings = pd.DataFrame(findings, columns=["clip", "what", "value", "expected", "severity"])
    counts = findings["severity"].value_counts()
    said = ", ".join(f"{counts.get(name, 0)} {name}s" for name in ("error", "warning", "note"))
    print(f"{len(clips)} clips audited: {said if len(findings) else 'nothing found'}")
    return findings


def drop_flagged(clips, findings=None):
    """Leave out the clips that the audit calls errors: the series' one decision about them.

    Parameters
    ----------
    clips : pd.DataFrame
        From `ser_utils.dataset.scan_corpus`.
    findings : pd.DataFrame, optional
        From `audit_corpus`; if None, it is called here.

    Returns
    -------
    pd.DataFrame
        The other clips; ``attrs["skipped"]`` lists those left out and why.

    Notes
    -----
    Take this call out of a notebook to keep them. Notebooks: all.
    """
    findings = audit_corpus(clips) if findings is None else findings
    errors = findings[findings["severity"] == "error"].drop_duplicates("clip")
    kept = clips[~relative_paths(clips)["path"].isin(errors["clip"])].reset_index(drop=True)
    reasons = (errors["what"] + ": " + errors["value"].astype(str)).tolist()
    kept.attrs["skipped"] = [*clips.attrs["skipped"], *zip(errors["clip"], reasons, strict=True)]
    return kept
