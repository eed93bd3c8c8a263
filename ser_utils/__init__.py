"""Speech emotion recognition, step by step: the package beside the notebooks.

audio files -> scan_corpus -> table of clips -> extract_corpus -> arrays -> build_lstm -> model
-> EmotionRecognizer -> build_app.
Figures are in `ser_utils.plotting`.
"""

from importlib import import_module

from .audio import AudioError, listen, load_audio
from .corpora.audit import audit_corpus, drop_flagged
from .dataset import CorpusError, data_dir, output_dir, scan_corpus
from .extraction import extract_corpus
from .features import REFERENCE_CONFIG, FeatureConfig, extract_features
from .models import build_lstm, clip_batches, import_keras, set_seed

__version__ = "1.0.0"
__all__ = [
    "REFERENCE_CONFIG",
    "AudioError",
    "CorpusError",
    "EmotionRecognizer",
    "FeatureConfig",
    "audit_corpus",
    "build_app",
    "build_lstm",
    "clip_batches",
    "data_dir",
    "drop_flagged",
    "extract_corpus",
    "extract_features",
    "fetch_corpus",
    "import_keras",
    "listen",
    "load_audio",
    "output_dir",
    "scan_corpus",
    "set_seed",
]

_LATER = {  # two are also run as commands, one brings an HTTP client that no worker needs
    "EmotionRecognizer": ".deploy.recognizer",
    "build_app": ".deploy.server",
    "fetch_corpus": ".corpora.download",
}


def __getattr__(name):
    """Import what few need when it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name], __name__), name)
