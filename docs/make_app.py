"""Write the page as static files that run the model in the browser: an app without a server.

    make app                                  # or: python -m docs.make_app
    python -m http.server 8001 --directory output/app

It is not part of the package, because nothing there needs it. Notebook: 10_deploy.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from docs.packages import PackageError, fetch_packages
from ser_utils import EmotionRecognizer
from ser_utils.deploy import live
from ser_utils.deploy.phone import export_phone
from ser_utils.deploy.recognizer import ACTED6, STEP
from ser_utils.deploy.server import EVERY, PAGE, describe, example
from ser_utils.features import PITCH_RANGE

RUNTIMES = "litert_wasm_internal", "litert_wasm_compat_internal"  # for new and for old browsers
# What the page will ask for, so that a slow network fetches it all at once.
EARLY = """\
  <link rel="modulepreload" href="device.js">
  <link rel="preload" href="app.json" as="fetch" crossorigin>
  <link rel="preload" href="model.tflite.zlib" as="fetch" crossorigin>
"""


class AppError(RuntimeError):
    """The app cannot be made; the message says why and what to do."""


def _copy_litert(folder):
    """Copy what a browser needs of LiteRT.js."""
    package = fetch_packages() / "@litertjs"
    code = (package / "core" / "dist" / "index.js").read_text(encoding="utf-8")
    code = code.replace('"@litertjs/wasm-utils"', '"./wasm-utils.js"')  # no bundler is needed
    folder.mkdir()
    (folder / "core.js").write_text(code, encoding="utf-8")
    shutil.copy(package / "wasm-utils" / "dist" / "index.js", folder / "wasm-utils.js")
    for name in RUNTIMES:
        for kind in ("js", "wasm"):
            shutil.copy(package / "core" / "wasm" / f"{name}.{kind}", folder)


def _settings(recognizer, n_bytes):
    """What ``page/recognizer.js`` has to know, under the names that it has here."""
    gate = ("QUIET", "TOP", "GRID", "VOICED", "LOUDER", "GLIDE", "GLIDING")
    about = describe(recognizer) | {"model": recognizer.digest()}
    numbers = {"kernel": recognizer.kernel, "bias": recognizer.bias}
    if recognizer.prototypes is not None:
        numbers["prototypes"] = recognizer.prototypes
    return {
        "about": about,
        "bytes": n_bytes,
        **{name: about[name] for name in ("emotions", "threshold")},
        **{name: about["limits"][name] for name in ("window", "shortest")},
        **asdict(recognizer.config),
        "step": STEP,
        "every": EVERY,
        "heard": live.HEARD,
        "lead": live.LEAD,
        "gate": {"pitch": PITCH_RANGE} | {name.lower(): getattr(live, name) for name in gate},
        **{name: np.float64(values).round(5).tolist() for name, values in numbers.items()},
    }


def write_app(recognizer, folder):
    """Write the page, a recogniser and LiteRT.js as static files, for any host of web pages.

    Parameters
    ----------
    recognizer : EmotionRecognizer
        Its features must be such that `export_phone` can put them into a file.
    folder : str or Path
        An app that is there is replaced, once the new one is complete.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    AppError
        If something else than an app is in the folder.
    PackageError
        If LiteRT.js cannot be fetched.
    ValueError
        If the recogniser does not fit a phone, as `export_phone` says.

    Notes
    -----
    LiteRT.js comes from the npm registry, 19 MB, of which a browser loads half. The model is packed
    by zlib, which makes it a fifth smaller. Notebook: 10_deploy.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / "sw.js").exists():
        raise AppError(f"{folder} holds something else than an app; name another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        new = shutil.copytree(PAGE, Path(place) / folder.name)
        page = (new / "index.html").read_text(encoding="utf-8")
        page = page.replace('data-engine="server"', 'data-engine="device"')
        page = page.replace("</head>", f"{EARLY}</head>")
        (new / "index.html").write_text(page, encoding="utf-8")
        (new / "server.js").unlink()
        model = export_phone(recognizer, Path(place) / "model.tflite", precision="float16")
        (new / "model.tflite.zlib").write_bytes(zlib.compress(model.read_bytes(), 9))
        _copy_litert(new / "litert")
        loaded = new / "model.tflite.zlib", new / "litert" / f"{RUNTIMES[0]}.wasm"
        settings = _settings(recognizer, sum(path.stat().st_size for path in loaded))
        (new / "app.json").write_text(json.dumps(settings), encoding="utf-8")
        (new / "examples").mkdir()
        for name in settings["about"]["examples"]:
            (new / "examples" / f"{name}.wav").write_bytes(example(name))
        _write_service_worker(new)
        shutil.rmtree(folder, ignore_errors=True)
        return new.rename(folder)


def digest_of(files):
    """Digest of the content of files, which stands for their version."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _write_service_worker(folder):
    """Tell the service worker which files there are, and their versions."""
    libraries = [path for path in folder.glob("litert/*") if path.stem not in RUNTIMES]
    paths = [*folder.glob("*.*"), *folder.glob("examples/*"), *libraries]
    files = sorted(path for path in paths if path.name != "sw.js")
    names = ["./", *(path.relative_to(folder).as_posix() for path in files)]
    facts = {"VERSION": digest_of(files), "FILES": names}
    facts["LITERT"] = digest_of(sorted(folder.glob("litert/*")))
    lines = [f"const {name} = {json.dumps(value)};\n" for name, value in facts.items()]
    worker = (folder / "sw.js").read_text(encoding="utf-8")
    (folder / "sw.js").write_text("".join(lines) + worker, encoding="utf-8")


def main(arguments=None):
    """Write the app of a saved recogniser; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default=ACTED6, help="folder; default: acted6")
    parser.add_argument("--folder", default="output/app", help="default: output/app")
    options = parser.parse_args(arguments)
    try:
        folder = write_app(EmotionRecognizer.load(options.bundle), options.folder)
    except (AppError, PackageError, ValueError, OSError) as error:
        sys.exit(str(error))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(
        f"{folder}: {size / 1e6:.0f} MB. To try it: python -m http.server 8001 --directory {folder}"
    )


if __name__ == "__main__":
    main()
