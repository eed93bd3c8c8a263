"""What the app costs in a browser, and whether it answers as `EmotionRecognizer` does.

    python -m benchmarks.app                    # on SER_DATA_DIR, or on the demo corpus

In headless Chromium, with acted6: the largest difference of a probability and the share of the
same names, for files at three sample rates and for a minute of each of five voices as a stream; the
milliseconds of a decision and the longest task of the page's own thread; the memory while it
hears ten minutes; and how long a page takes to load from a host as slow as fast 3G (1.6 Mbit/s,
150 ms), with LiteRT.js cached, and on a second visit. Rows go to ``app.csv``.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import soundfile as sf
import soxr

from benchmarks.record import Record
from docs.make_app import write_app
from ser_utils import EmotionRecognizer, data_dir, load_audio, scan_corpus
from ser_utils.deploy.live import Steady
from ser_utils.deploy.recognizer import ACTED6, NOT_SURE, SHORTEST, WINDOW
from ser_utils.deploy.server import EVERY, _decision
from tests.browser import Browser, StaticHost

RATES, STREAM = (16000, 44100, 48000), 48000  # Hz
MINUTE, MINUTES = 60, 10  # s, of a stream; how many of them while memory is watched
FAST_3G = {"latency": 0.15, "rate": 200_000}  # s, bytes a second
OPEN = "window.engine ??= await (await import('./device.js')).openEngine(() => {});"
ASK = (
    OPEN
    + """
  const answers = [];
  for (const name of given[0]) {
    const file = await (await fetch(`../clips/${name}`)).blob();
    const { emotion, probabilities } = await engine.predict(file);
    answers.push([emotion, probabilities]);
  }
  return answers;"""
)
HEAR = """
  const [chunks, rate] = given, names = [], took = [], tasks = [];
  window.samples = chunks?.map((chunk) => Int16Array.from(chunk)) ?? window.samples;
  const stream = engine.listen(rate, ({ emotion }) => names.push(emotion));
  const watch = new PerformanceObserver((list) => tasks.push(...list.getEntries()));
  watch.observe({ type: "longtask" });
  for (const chunk of window.samples) {
    const before = names.length, start = performance.now();
    await stream.send(chunk.slice());
    if (names.length > before) took.push(performance.now() - start);
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
  stream.close();
  return { names, took, longest: Math.max(0, ...tasks.map(({ duration }) => duration)) };"""
CACHE = """for (const name of ["core.js", "wasm-utils.js", "litert_wasm_internal.js",
  "litert_wasm_internal.wasm"]) await (await fetch(`litert/${name}`)).arrayBuffer();"""


def compare_files(browser, recognizer, clips, folder):
    """Yield a row for each sample rate: the same clips as files."""
    for rate in RATES:
        said = []
        for path in clips["path"]:
            y, sr = load_audio(path, sr=None)
            y = np.clip(soxr.resample(y, sr, rate), -1, 1)
            sf.write(folder / "clips" / f"{len(said)}.wav", y, rate, subtype="FLOAT")
            said.append(recognizer.predict(folder / "clips" / f"{len(said)}.wav"))
        answers = browser.wait_for(ASK, [f"{i}.wav" for i in range(len(said))])
        differences = [
            abs(probabilities[name] - expected.probabilities[name])
            for (_, probabilities), expected in zip(answers, said, strict=True)
            for name in recognizer.emotions
        ]
        same = [name == expected.emotion for (name, _), expected in zip(answers, said, strict=True)]
        what = f"files, {rate} Hz"
        yield {"what": f"{what}: largest difference", "value": max(differences), "n": len(same)}
        yield {"what": f"{what}: same names (%)", "value": 100 * np.mean(same), "n": len(same)}


def join(clips):
    """Join clips of one voice, with pauses, to a minute of 16-bit samples."""
    parts = [np.zeros(STREAM // 2)]
    for path in clips["path"].sample(frac=1, random_state=0):
        y, sr = load_audio(path, sr=None)
        parts += [soxr.resample(y, sr, STREAM), np.zeros(STREAM // 2)]
    sound = np.resize(np.concatenate(parts), MINUTE * STREAM)
    return np.int16(32767 * np.clip(sound, -1, 1)).reshape(-1, STREAM // 10)


def names_of(recognizer, chunks):
    """What the server would name, decision by decision."""
    steady, names, sound, fresh = Steady(recognizer.threshold), [], np.zeros(0), 0
    for chunk in chunks:
        sound = np.concatenate([sound, chunk / np.float32(32768)])[-int(WINDOW * STREAM) :]
        fresh += len(chunk)
        if fresh >= EVERY * STREAM and len(sound) >= SHORTEST * STREAM:
            fresh = 0
            names.append(_decision(recognizer, steady, np.float32(sound), STREAM)["emotion"])
    return names


def memory(browser):
    """Megabytes of the process that runs the page and its worker."""
    browser.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    tree = psutil.Process(browser.driver.service.process.pid).children(recursive=True)
    pages = [one for one in tree if "--type=renderer" in one.cmdline()]
    return max(one.memory_info().rss for one in pages) / 1e6


def compare_streams(browser, recognizer, clips):
    """Yield rows: a minute of each of five voices as a stream, then ten minutes of the last."""
    same, named, took, longest = [], [], [], []
    for voice in clips["speaker"].unique()[:5]:
        chunks = join(clips[clips["speaker"] == voice])
        expected = names_of(recognizer, chunks)
        heard = browser.wait_for(OPEN + HEAR, chunks.tolist(), STREAM)
        same += list(np.array(heard["names"]) == expected)
        named += [name != NOT_SURE for name in expected]
        took += heard["took"]
        longest.append(heard["longest"])  # 0 if none lasted 50 ms
    n = len(same)
    yield {"what": "stream: same names (%)", "value": 100 * np.mean(same), "n": n}
    yield {"what": "stream: decisions with a name (%)", "value": 100 * np.mean(named), "n": n}
    for share in (0.5, 0.95, 1):
        what = f"stream: ms of a decision, quantile {share}"
        yield {"what": what, "value": np.quantile(took, share), "n": n}
    yield {"what": "stream: longest task of the page (ms)", "value": max(longest), "n": n}
    used = []
    for _ in range(MINUTES):
        browser.wait_for(OPEN + HEAR, None, STREAM)
        used.append(memory(browser))
    yield {"what": "stream: memory, median (MB)", "value": np.median(used), "n": MINUTES}
    slope = np.polyfit(range(MINUTES), used, 1)[0]
    yield {"what": "stream: more memory each minute (MB)", "value": slope, "n": MINUTES}


def time_loading(folder, profile):
    """Yield a row for each kind of visit: seconds until the page can listen."""
    fast = StaticHost(folder)
    browser = Browser(f"{fast.url}nothing", profile, None)

    def visit(kind):
        start = time.perf_counter()
        browser.driver.get(slow.url)
        while not browser.is_ready():
            time.sleep(0.01)
        return {"what": f"load, {kind} (s)", "value": time.perf_counter() - start, "n": 1}

    browser.wait_for(CACHE)
    fast.stop()
    slow = StaticHost(folder, port=fast.port, **FAST_3G)
    yield visit("LiteRT.js cached")
    while not browser.text("kept"):
        time.sleep(0.1)
    yield visit("second visit")
    browser.driver.quit()
    slow.stop()


def main():
    record = Record("app.csv", ["corpus"])
    recognizer, corpus = EmotionRecognizer.load(ACTED6), data_dir()
    clips = scan_corpus(corpus)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "clips").mkdir()
        write_app(recognizer, folder / "app")
        host = StaticHost(folder)
        browser = Browser(f"{host.url}app/", folder / "profile", None)
        browser.driver.set_script_timeout(600)
        rows = []
        asked = clips.sample(min(200, len(clips)), random_state=0)
        rows += compare_files(browser, recognizer, asked, folder)
        rows += compare_streams(browser, recognizer, clips)
        browser.driver.quit()
        host.stop()
        rows += time_loading(folder / "app", folder / "slow")
        record.append([corpus.name], rows)
    for row in rows:
        print(f"{row['what']}: {row['value']:.4g} (n = {row['n']})")


if __name__ == "__main__":
    main()
