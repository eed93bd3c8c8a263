"""What pytest and nbval need before they start, from whatever folder they are called."""

import os
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
REAL_DATA = os.environ.pop("SER_DATA_DIR", None)  # notebooks are compared on the demo corpus only


def pytest_configure(config):
    if config.option.nbval:
        from ser_utils.corpora.demo_corpus import make_demo_corpus

        config.option.nbval_sanitize_with = str(ROOT / "tests" / "sanitize.cfg")
        make_demo_corpus(ROOT / "data" / "demo")


@pytest.fixture(scope="session")
def demo_corpus():
    """Folder of the demo corpus that the notebooks read, made where it is missing."""
    from ser_utils.corpora.demo_corpus import make_demo_corpus

    return make_demo_corpus(ROOT / "data" / "demo")


@pytest.fixture
def real_corpus():
    """Folder of a real corpus, for tests marked ``real_data``."""
    if REAL_DATA is None:
        pytest.skip("SER_DATA_DIR is not set")
    return (ROOT / Path(REAL_DATA).expanduser()).resolve()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder, so that caches go nowhere else."""
    (tmp_path / "environment.yml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_recognizer():
    """A recogniser with a small untrained model: it knows nothing and answers at once."""
    from ser_utils import EmotionRecognizer, build_lstm, import_keras, set_seed

    set_seed(0)
    normalization = import_keras().layers.Normalization(mean=[0.0] * 40, variance=[400.0] * 40)
    model = build_lstm((None, 40), 3, units=8, normalization=normalization)
    about = {"corpora": ["none"], "protocol": "none", "figures": {}, "licence": "MIT"}
    return EmotionRecognizer(model, ["angry", "happy", "sad"], about=about)


@pytest.fixture(scope="session")
def server(tiny_recognizer):
    """A running server with the small untrained model."""
    from ser_utils.deploy.server import Server, build_app

    server = Server(build_app(tiny_recognizer))
    yield server
    server.stop()


@pytest.fixture
def wait_until():
    """Wait until something becomes true; fail after a minute, since some machines are slow."""

    def wait(condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.05)

    return wait
