"""Speech emotion recognition, step by step: the package beside the notebooks.

audio files -> scan_corpus -> table of clips -> extract_corpus -> arrays -> build_lstm -> model.
Figures are in `ser_utils.plotting`.
"""

from .audio import AudioError, listen, load_audio
from .dataset import (
    CorpusError,
    data_dir,
    describe_clips,
    matched_clips,
    output_dir,
    relative_paths,
    scan_corpus,
)
from .demo_corpus import make_demo_corpus
from .features import (
    REFERENCE_CONFIG,
    CorpusFeatures,
    FeatureConfig,
    extract_corpus,
    extract_features,
)
from .models import build_lstm, import_keras, set_seed

__version__ = "0.1.0"
__all__ = [
    "REFERENCE_CONFIG",
    "AudioError",
    "CorpusError",
    "CorpusFeatures",
    "FeatureConfig",
    "build_lstm",
    "data_dir",
    "describe_clips",
    "extract_corpus",
    "extract_features",
    "import_keras",
    "listen",
    "load_audio",
    "make_demo_corpus",
    "matched_clips",
    "output_dir",
    "relative_paths",
    "scan_corpus",
    "set_seed",
]
