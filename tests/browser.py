"""The page in a real browser: Chromium, headless, with a microphone that plays a file."""

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from ser_utils.deploy import server

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update --disable-dev-shm-usage
--autoplay-policy=no-user-gesture-required --use-fake-ui-for-media-stream
--window-size=1200,1100"""
PAGE = Path(server.__file__).parent / "page"


def page_digest():
    """Digest of the page's files, whatever their line ends."""
    content = b"".join(path.read_bytes() for path in sorted(PAGE.iterdir()))
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()[:16]


class StaticHost:
    """A host of static files on this machine, as of the app; it notes what it is asked for.

    Parameters
    ----------
    folder : Path
        What it serves.
    latency : float, default 0
        Time before each answer (in s), as on a slow network.
    rate : float, default inf
        Bytes a second that all answers together may have.
    port : int, default 0
        0 takes a free one.
    """

    def __init__(self, folder, *, latency=0, rate=float("inf"), port=0):
        self.asked, line = [], threading.Lock()

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(handler):  # noqa: N805 - the library's name; self is the host
                self.asked.append(handler.path)
                time.sleep(latency)
                super().do_GET()

            def copyfile(handler, source, out):  # noqa: N805
                while block := source.read(4096):
                    with line:
                        time.sleep(len(block) / rate)
                    out.write(block)

            def log_message(handler, *_):  # noqa: N805
                pass

        serve = partial(Handler, directory=folder)
        self.server = ThreadingHTTPServer(("127.0.0.1", port), serve)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Browser:
    """The page, open in a headless browser.

    Parameters
    ----------
    url : str
        Address of the page.
    profile : Path
        Folder for what the browser keeps.
    heard : Path or None
        A WAV file; the microphone plays it again and again. None: there is no microphone.
    """

    def __init__(self, url, profile, heard):
        os.environ["SE_AVOID_STATS"] = "true"  # it would ask the network otherwise
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        flags = [*FLAGS.split(), f"--user-data-dir={profile}"]
        if heard:
            flags += ["--use-fake-device-for-media-stream"]
            flags += [f"--use-file-for-fake-audio-capture={heard}"]
        for flag in flags:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.driver.set_script_timeout(60)
        self.driver.get(url)

    def is_ready(self):
        return self.run("return document.documentElement.dataset.ready")

    def run(self, script, *arguments):
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, script, *arguments):
        """Run a script with ``await`` in it, on ``given``; return what it returns."""
        whole = f"""
            const [done, ...given] = [...arguments].reverse();
            (async (given) => {{ {script} }})(given.reverse()).then(
              (value) => done({{ value }}), (error) => done({{ error: String(error) }}))"""
        answer = self.driver.execute_async_script(whole, *arguments)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def find(self, name):
        return self.driver.find_element("id", name)

    def text(self, name):
        return self.find(name).text

    def bars(self):
        """Each bar in one look: its emotion, number, value for the screen reader, drawn share."""
        script = """
            return [...document.querySelectorAll("#bars [role=meter]")].map((bar) => [
              bar.getAttribute("aria-label"),
              parseInt(bar.nextSibling.textContent),
              parseInt(bar.getAttribute("aria-valuenow")),
              100 * bar.firstChild.getBoundingClientRect().width
                / bar.getBoundingClientRect().width])"""
        return self.run(script)

    def shares(self):
        """What the bars say (%), as the screen reader hears it."""
        return {name: value or 0 for name, _, value, _ in self.bars()}

    def click(self, name):
        self.find(name).click()

    def upload(self, path):
        self.find("file").send_keys(str(path))

    def example(self, name):
        self.driver.find_element("xpath", f"//div[@id='examples']/button[.='{name}']").click()

    def wipe(self):
        """Wipe what it says, so that only a new answer is seen."""
        self.run("document.getElementById('emotion').textContent = '…'")

    def row(self, emotion):
        """The row of an emotion where the page is taught a voice."""
        return self.driver.find_element("css selector", f"#sentences [data-emotion={emotion}]")

    def recorded(self, emotion):
        """Seconds that are recorded so far, as such a row tells while it records."""
        words = self.row(emotion).text.split()
        return int(words[-4]) if words[-1] == "s" else 0

    def record(self, emotion):
        """Press the button of such a row."""
        button = self.row(emotion).find_element("tag name", "button")
        self.run("arguments[0].scrollIntoView({ block: 'center' })", button)
        button.click()

    def width(self, pixels, height):
        metrics = {
            "width": pixels,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": pixels < 600,
        }
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def screenshot(self, path):
        self.driver.save_screenshot(path)

    def canvas(self, name):
        """Pixels of a canvas, np.ndarray [shape=(height, width, 4)]: red, green, blue, alpha."""
        script = """
            const canvas = document.getElementById(arguments[0]);
            const { width, height } = canvas;
            const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            return [height, width, Array.from(pixels)];"""
        height, width, pixels = self.run(script, name)
        return np.array(pixels).reshape(height, width, 4)

    def complaints(self):
        """Errors of the page's own script, not of the network."""
        log = self.driver.get_log("browser")
        errors = [line for line in log if line["level"] == "SEVERE"]
        return [line["message"] for line in errors if line["source"] != "network"]


class Firefox:
    """A page, open in headless Firefox, by its own protocol (WebDriver BiDi): no driver is needed.

    Where the machine has no sound device, Firefox's audio stands still, so it has no microphone.
    """

    def __init__(self, url, profile):
        import websocket

        command = [FIREFOX, "--headless", "--profile", profile, "--remote-debugging-port=0"]
        self.log = open(profile / "log.txt", "w+")  # noqa: SIM115 - open as long as the process
        self.process = subprocess.Popen([str(part) for part in command], stderr=self.log)
        end = time.monotonic() + 60
        while not (found := re.search(r"ws://\S+", (profile / "log.txt").read_text())):
            assert time.monotonic() < end, "Firefox does not start"
            time.sleep(0.1)
        self.numbers = itertools.count()
        address = f"{found[0]}/session"
        self.socket = websocket.create_connection(address, suppress_origin=True, timeout=60)
        self.ask("session.new", capabilities={})
        self.page = self.ask("browsingContext.getTree")["contexts"][0]["context"]
        self.open(url)

    def ask(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv())).get("id") != number:
            pass  # an event
        return answer["result"]

    def open(self, url):
        self.ask("browsingContext.navigate", context=self.page, url=url, wait="complete")

    def wait_for(self, script):
        """Run a script with ``await`` in it; return what it returns."""
        expression = f"(async () => {{ {script} }})().then(JSON.stringify)"
        where = {"target": {"context": self.page}, "awaitPromise": True}
        answer = self.ask("script.evaluate", expression=expression, **where)
        return json.loads(answer["result"].get("value", "null"))

    def text(self, name):
        return self.wait_for(f"return document.getElementById('{name}').textContent")

    def is_ready(self):
        return self.wait_for("return document.documentElement.dataset.ready ?? null")

    def quit(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait()
        self.log.close()
