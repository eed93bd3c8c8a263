"""A corpus is fetched whole or not at all, from a loopback server that can misbehave."""

import hashlib
import http.server
import io
import itertools
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from corpora import write_clip, write_tess

from ser_utils import scan_corpus
from ser_utils.corpora import download
from ser_utils.corpora.download import DownloadError, fetch_corpus

NAMES = ["tess", "ravdess", "emodb"]
STALL = 120  # s, that a silent server keeps a client waiting
ZIPS = {"ravdess": "/Audio_Speech_Actors_01-24.zip?download=1", "emodb": "/emodb.zip?download=1"}
LISTING = "/datasets/:persistentId?persistentId=doi:10.5683/SP2/E8H2MF"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.bodies``; a path in ``server.faults`` goes wrong, one fault a request."""

    def do_GET(self):
        self.server.asked.append(self.path)
        fault = next(self.server.faults.get(self.path, iter(())), None)
        body = self.server.bodies.get(self.path)
        if isinstance(fault, int) or body is None:
            self.send_error(fault or 404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "wrong":
            body = bytes(len(body))
        self.wfile.write(body[: len(body) // 2 if fault in ("drop", "stall") else None])
        if fault == "stall":
            self.wfile.flush()
            self.server.over.wait(STALL)

    def log_message(self, *args):
        pass


def in_zip(files):
    """Pack ``{name: bytes}``, in order; a name may come twice."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files:
            zipped.writestr(name, content)
    return packed.getvalue()


def zip_files(folder, name):
    """A few clips in the layout of the real zip, with what else lies in such zips."""
    if name == "ravdess":
        clips = [f"Actor_0{i % 2 + 1}/03-01-0{i}-01-01-01-01.wav" for i in range(1, 5)]
    else:
        clips = [f"emodb/wav/03a0{i}Fa.wav" for i in range(1, 5)]
    files = [
        (clip, write_clip(folder / clip, 0.2, seed=i).read_bytes()) for i, clip in enumerate(clips)
    ]
    doubled = [(f"copy/{clip}", content) for clip, content in files]
    clutter = [("__MACOSX/._03a01Fa.wav", b"x"), ("emodb/db.csv", b"x"), ("extra.wav", b"x")]
    return files + doubled + clutter


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Small corpora as the official servers would serve them, and their clips and checksums."""
    made = tmp_path_factory.mktemp("made")
    tess = sorted(write_tess(made / "tess").rglob("*.wav"))
    files = [{"dataFile": {"filename": path.name, "id": i}} for i, path in enumerate(tess)]
    listing = json.dumps({"data": {"latestVersion": {"files": files}}}).encode()
    clip_paths = {path.name: f"/access/datafile/{i}" for i, path in enumerate(tess)}
    bodies = {LISTING: listing} | {clip_paths[path.name]: path.read_bytes() for path in tess}
    clips = {"tess": {path.name: path.read_bytes() for path in tess}}
    packed = {name: zip_files(made, name) for name in ZIPS}
    for name, content in packed.items():
        clips[name] = {Path(clip).name: data for clip, data in content[:4]}
        bodies[ZIPS[name]] = in_zip(content)
    checksums = {
        name: {clip: f"sha256:{hashlib.sha256(data).hexdigest()}" for clip, data in files.items()}
        for name, files in clips.items()
    }
    return SimpleNamespace(
        bodies=bodies, clips=clips, checksums=checksums, clip_paths=clip_paths, packed=packed
    )


def md5(content):
    return f"md5:{hashlib.md5(content).hexdigest()}"


@pytest.fixture
def server(stand_ins, monkeypatch):
    """A server of the stand-ins, which the package takes for the official sources."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.url = f"http://127.0.0.1:{server.server_port}"
        server.asked, server.faults, server.over = [], {}, threading.Event()
        server.bodies, server.checksums = dict(stand_ins.bodies), dict(stand_ins.checksums)
        for name, source in download.SOURCES.items():
            known = md5(server.bodies[ZIPS[name]]) if source.checksum else None
            local = replace(source, base=server.url, checksum=known)
            monkeypatch.setitem(download.SOURCES, name, local)
        monkeypatch.setattr(download, "official_checksums", server.checksums.get)
        monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def fetch(name, target):
    return fetch_corpus(name, target, accept_terms=True)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_fails(name, target, says):
    """The call fails with one sentence and nothing under the final name."""
    with pytest.raises(DownloadError, match=says) as caught:
        fetch(name, target)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert not target.exists()
    return str(caught.value)


def replace_zip(server, name, content):
    """Serve another zip, and its right md5, so that only its content is amiss."""
    server.bodies[ZIPS[name]] = content
    download.SOURCES[name] = replace(download.SOURCES[name], checksum=md5(content))


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_arrives_whole_and_alone(server, stand_ins, tmp_path, name):
    target = tmp_path / "new" / name
    assert fetch(name, target) == target
    assert contents(target) == stand_ins.clips[name]
    assert [path.name for path in target.parent.iterdir()] == [name]
    if os.name == "posix":
        assert all(path.stat().st_mode & stat.S_IROTH for path in target.rglob("*.wav"))


def test_tess_is_ready_to_scan_and_listed_once(server, tmp_path, capsys):
    clips = scan_corpus(fetch("tess", tmp_path / "tess"))
    assert len(clips) == 12
    assert not clips.attrs["skipped"]
    assert len(server.asked) == 13
    assert server.asked.count(LISTING) == 1
    assert "fetched: 12/12 clips" in capsys.readouterr().out


def test_clips_of_a_zip_keep_their_folders(server, tmp_path):
    ravdess = fetch("ravdess", tmp_path / "ravdess")
    assert {path.name for path in ravdess.iterdir()} == {"Actor_01", "Actor_02"}
    emodb = fetch("emodb", tmp_path / "emodb")
    assert len(list(emodb.glob("emodb/wav/*.wav"))) == 4


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("tess", ["281 MB", "2,800", "CC BY-NC-ND 4.0 or CC BY-NC 4.0", "10.5683/SP2/E8H2MF"]),
        ("ravdess", ["208 MB", "CC BY-NC-SA 4.0", "10.5281/zenodo.1188976"]),
        ("EmoDB", ["40 MB", "CC0 or CC BY 4.0", "10.5281/zenodo.7447302"]),
    ],
)
def test_terms_come_before_the_first_request(server, tmp_path, capsys, name, facts):
    with pytest.raises(DownloadError, match="pass accept_terms=True") as caught:
        fetch_corpus(name, tmp_path / "corpus")
    assert server.asked == []
    assert not list(tmp_path.iterdir())
    fetch(name, tmp_path / "corpus")
    said = capsys.readouterr().out.splitlines()[0]
    for text in (str(caught.value), said):
        assert "\n" not in text
        assert all(fact in text for fact in [*facts, "https://doi.org/"])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("savee", r"University of Surrey.*DC/a01\.wav"),
        ("CREMA-D", r"git-lfs.*CheyneyComputerScience/CREMA-D.*1001_DFA_ANG_XX\.wav"),
        ("cremad", "git-lfs"),
        ("iemocap", "'iemocap' cannot be fetched; use one of tess, ravdess, emodb"),
    ],
)
def test_what_cannot_be_fetched_says_where_to_ask(tmp_path, name, says):
    assert_fails(name, tmp_path / "corpus", says)


def test_the_sources_are_the_official_ones():
    urls = [f"{source.base}/{source.path}" for source in download.SOURCES.values()]
    assert urls == [
        "https://borealisdata.ca/api/datasets/:persistentId?persistentId=doi:10.5683/SP2/E8H2MF",
        "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
        "https://zenodo.org/records/7447302/files/emodb.zip?download=1",
    ]
    assert download.SOURCES["ravdess"].checksum == "md5:bc696df654c87fed845eb13823edef8a"


@pytest.mark.parametrize("path", [LISTING, "/access/datafile/7", *ZIPS.values()])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (404, "answered 404 Not Found"),
        (500, "answered 500"),
        (503, "answered 503"),
        ("drop", "broke off"),
    ],
)
def test_a_server_that_fails_is_one_sentence(server, stand_ins, tmp_path, path, fault, says):
    server.faults[path] = itertools.repeat(fault)
    name = next((name for name, zipped in ZIPS.items() if zipped == path), "tess")
    message = assert_fails(name, tmp_path / name, says)
    assert f"{server.url}{path}: " in message
    assert "run the same call again" in message
    assert server.asked.count(path) == 3
    server.faults.clear()
    assert contents(fetch(name, tmp_path / name)) == stand_ins.clips[name]


@pytest.mark.parametrize("name", ["tess", "ravdess"])
def test_a_server_that_falls_silent_is_given_up(server, tmp_path, monkeypatch, name):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    server.faults[ZIPS.get(name, "/access/datafile/7")] = itertools.repeat("stall")
    start = time.monotonic()
    assert_fails(name, tmp_path / name, r"silent for 0\.3 s")
    assert time.monotonic() - start < STALL / 2


@pytest.mark.parametrize("path", [LISTING, "/access/datafile/7", ZIPS["ravdess"]])
@pytest.mark.parametrize("fault", [503, "drop"])
def test_a_passing_fault_is_not_noticed(server, stand_ins, tmp_path, path, fault):
    server.faults[path] = iter([fault])
    name = "ravdess" if path in ZIPS.values() else "tess"
    assert contents(fetch(name, tmp_path / name)) == stand_ins.clips[name]


def test_no_server_at_all(server, tmp_path):
    nowhere = replace(download.SOURCES["tess"], base="http://127.0.0.1:9")
    download.SOURCES["tess"] = nowhere
    assert_fails("tess", tmp_path / "tess", "http://127.0.0.1:9/.*no connection")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (LISTING, "no list of files"),
        ("/access/datafile/7", r"not the official \w+\.wav \(its checksum differs\)"),
        (ZIPS["ravdess"], "checksum differs"),
        (ZIPS["emodb"], "not unpacked, File is not a zip file"),
    ],
)
def test_wrong_content_is_refused_and_fetched_anew(server, stand_ins, tmp_path, path, says):
    name = next((name for name, zipped in ZIPS.items() if zipped == path), "tess")
    server.faults[path] = itertools.repeat("wrong")
    assert_fails(name, tmp_path / name, says)
    server.faults.clear()
    assert contents(fetch(name, tmp_path / name)) == stand_ins.clips[name]


def test_a_list_of_another_form_is_refused(server, tmp_path):
    server.bodies[LISTING] = b'{"data": {"latestVersion": [1]}}'
    assert_fails("tess", tmp_path / "tess", "no list of files")


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_missing_at_the_source_is_named(server, tmp_path, name):
    server.checksums[name] = {**server.checksums[name], "lost.wav": "sha256:0", "gone.wav": "0"}
    n = len(server.checksums[name])
    assert_fails(name, tmp_path / name, rf"2 of {n} clips from {server.url}.*first lost\.wav")


def test_a_changed_clip_in_a_good_zip_is_named(server, stand_ins, tmp_path):
    files = stand_ins.packed["emodb"]
    server.bodies[ZIPS["emodb"]] = in_zip([(files[0][0], b"changed"), *files[1:4]])
    assert_fails("emodb", tmp_path / "emodb", r"1 of 4 clips.*03a01Fa\.wav")
    server.bodies[ZIPS["emodb"]] = in_zip(files)
    assert contents(fetch("emodb", tmp_path / "emodb")) == stand_ins.clips["emodb"]


def test_a_full_disk_is_one_sentence(server, stand_ins, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    for name in NAMES:
        with monkeypatch.context() as patch:
            patch.setattr("shutil.move", full)
            assert_fails(name, tmp_path / name, r"\.partial cannot be used \(No space left")
        assert contents(fetch(name, tmp_path / name)) == stand_ins.clips[name]


def test_a_file_in_the_way_of_the_work_is_one_sentence(server, tmp_path):
    (tmp_path / "tess.partial").write_text("mine")
    assert_fails("tess", tmp_path / "tess", r"tess\.partial.* cannot be used")
    assert (tmp_path / "tess.partial").read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mine", ["notes.txt", "OAF_a_angry.wav"])
def test_a_folder_with_something_else_is_left_alone(server, tmp_path, name, mine):
    target = tmp_path / "corpus"
    target.mkdir()
    (target / mine).write_text("mine")
    with pytest.raises(DownloadError, match=f"is not the complete {name}; name a new folder"):
        fetch(name, target)
    assert contents(target) == {mine: b"mine"}
    assert server.asked == []
    assert not (tmp_path / "corpus.partial").exists()


def test_a_file_as_target_is_left_alone(server, tmp_path):
    (tmp_path / "corpus").write_text("mine")
    with pytest.raises(DownloadError, match="name a new folder"):
        fetch("tess", tmp_path / "corpus")
    assert (tmp_path / "corpus").read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_filled_and_a_whole_corpus_kept(server, tmp_path, name):
    (tmp_path / name).mkdir()
    fetch(name, tmp_path / name)
    (tmp_path / name / "notes.txt").write_text("mine")
    server.asked.clear()
    assert fetch(name, tmp_path / name) == tmp_path / name
    assert server.asked == []
    next((tmp_path / name).rglob("*.wav")).write_bytes(b"spoilt")
    with pytest.raises(DownloadError, match="not the complete"):
        fetch(name, tmp_path / name)


def test_an_interrupted_tess_goes_on_where_it_stopped(server, stand_ins, tmp_path, monkeypatch):
    get, asked = requests.get, itertools.count()

    def interrupted(*args, **kwargs):
        if next(asked) == 6:
            raise KeyboardInterrupt
        return get(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(download, "THREADS", 1)
        patch.setattr(requests, "get", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch("tess", tmp_path / "tess")
    assert not (tmp_path / "tess").exists()
    there = sorted((tmp_path / "tess.partial" / "corpus").iterdir())
    assert len(there) == 5
    there[0].write_bytes(b"spoilt meanwhile")
    server.asked.clear()
    assert contents(fetch("tess", tmp_path / "tess")) == stand_ins.clips["tess"]
    assert len(server.asked) == 1 + 12 - 5 + 1  # the list, the missing, the spoilt


def test_a_zip_that_is_there_is_not_fetched_again(server, stand_ins, tmp_path, monkeypatch):
    def interrupted(archive, corpus, checksums):
        write_clip(corpus / "left" / "half.wav")
        raise KeyboardInterrupt

    for name in ZIPS:
        with monkeypatch.context() as patch:
            patch.setattr(download, "_extract", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fetch(name, tmp_path / name)
        assert not (tmp_path / name).exists()
        server.asked.clear()
        assert contents(fetch(name, tmp_path / name)) == stand_ins.clips[name]
        assert server.asked == []


IN_ANOTHER_PROCESS = """
import json, signal, sys
from dataclasses import replace
from ser_utils.corpora import download
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it otherwise
name, target, url, checksums = sys.argv[1:]
download.SOURCES[name] = replace(download.SOURCES[name], base=url, checksum=None)
download.official_checksums = lambda name: json.loads(checksums)
download.fetch_corpus(name, target, accept_terms=True)
"""


def stop_halfway(server, stand_ins, name, target, how):
    """Start a download in another process, and end it in the middle of some files."""
    stalled = [*list(stand_ins.clip_paths.values())[5:], *ZIPS.values()]
    server.faults = {path: iter(["stall"]) for path in stalled}
    arguments = [name, str(target), server.url, json.dumps(server.checksums[name])]
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        n_stalled, deadline = (4 if name == "tess" else 1), time.monotonic() + 60
        while len(set(stalled) & set(server.asked)) < n_stalled:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(how)
        _, said = process.communicate(timeout=0.75 * download.TIMEOUT)  # at once: not at its end
    server.faults.clear()
    server.over.set()
    server.asked.clear()
    return target.with_name(f"{target.name}.partial"), said.decode()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ["tess", "emodb"])
def test_after_a_kill_the_next_call_goes_on(server, stand_ins, tmp_path, name):
    work, _ = stop_halfway(server, stand_ins, name, tmp_path / name, signal.SIGKILL)
    assert not (tmp_path / name).exists()
    assert list(work.rglob("tmp*"))  # what pooch had no time to clear
    there = {path.name for path in work.rglob("*.wav")}
    assert len(there) == (5 if name == "tess" else 0)
    assert contents(fetch(name, tmp_path / name)) == stand_ins.clips[name]
    assert len(server.asked) == (1 + 12 - 5 if name == "tess" else 1)
    assert not {stand_ins.clip_paths[clip] for clip in there} & set(server.asked)
    assert not work.exists()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_ends_all_threads_at_once(server, stand_ins, tmp_path):
    work, said = stop_halfway(server, stand_ins, "tess", tmp_path / "tess", signal.SIGINT)
    assert said.startswith("Traceback")  # nothing was logged before
    assert said.strip().endswith("KeyboardInterrupt")
    assert len(list(work.rglob("*.wav"))) == 5
    assert contents(fetch("tess", tmp_path / "tess")) == stand_ins.clips["tess"]
    assert len(server.asked) == 1 + 12 - 5


def link_entry():
    entry = zipfile.ZipInfo("emodb/link.wav")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


OUTSIDE = [
    "../evil.wav",
    "emodb/../../evil.wav",
    "/evil.wav",
    "C:/evil.wav",
    "..\\evil.wav",
    "../up/",
]


@pytest.mark.parametrize("entry", [*OUTSIDE, link_entry()], ids=str)
def test_a_zip_that_leads_outside_is_refused_untouched(server, stand_ins, tmp_path, entry):
    files = stand_ins.packed["emodb"]
    replace_zip(server, "emodb", in_zip([*files[:3], (entry, b"../../evil"), files[3]]))
    before = contents(tmp_path)
    assert_fails("emodb", tmp_path / "emodb", "would lead outside the folder")
    assert contents(tmp_path) == before
    assert not Path("/evil.wav").exists()


def test_a_zip_that_grows_beyond_reason_is_refused(server, stand_ins, tmp_path):
    files = stand_ins.packed["emodb"]
    replace_zip(server, "emodb", in_zip([(files[0][0], bytes(10**6)), *files[1:2]]))
    assert_fails("emodb", tmp_path / "emodb", "grow more than 20 times")
    assert not list(tmp_path.glob("emodb*/corpus"))


def test_a_damaged_zip_is_refused(server, tmp_path):
    packed = bytearray(server.bodies[ZIPS["emodb"]])
    packed[60:600] = bytes(540)
    replace_zip(server, "emodb", bytes(packed))
    assert_fails("emodb", tmp_path / "emodb", "not unpacked")
    assert not list(tmp_path.glob("emodb*/archive.zip"))


def test_nothing_is_said_on_stderr(server, tmp_path, capfd):
    server.faults["/access/datafile/7"] = iter([503])
    for name in NAMES:
        fetch(name, tmp_path / name)
    assert capfd.readouterr().err == ""


def test_a_relative_target_counts_from_the_project(tmp_path, monkeypatch):
    (tmp_path / "environment.yml").touch()
    write_clip(tmp_path / "data" / "mine" / "a.wav")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    with pytest.raises(DownloadError, match=re.escape(str(tmp_path / "data" / "mine"))):
        fetch_corpus("emodb", "data/mine", accept_terms=True)


@pytest.mark.network
@pytest.mark.skipif(not os.environ.get("SER_NETWORK"), reason="SER_NETWORK is not set")
def test_the_real_emodb_arrives_whole(tmp_path):
    root = fetch("emodb", tmp_path / "emodb")
    assert len(list(root.rglob("*.wav"))) == 535
