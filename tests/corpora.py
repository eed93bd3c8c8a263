"""Small corpora of noise for the tests, in the layouts that readers have."""

import numpy as np
import soundfile as sf

SR = 16000


def write_clip(path, seconds=0.8, seed=0, sr=SR):
    """Write a burst of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * sr))
    sf.write(path, noise, sr)
    return path


def write_tess(root, speakers=("OAF", "YAF"), emotions=("angry", "ps", "sad"), words=("a", "b")):
    """Write a corpus in TESS's layout; its folders vary in case and in the name of ps."""
    for i, speaker in enumerate(speakers):
        for emotion in emotions:
            folder = "pleasant_surprised" if emotion == "ps" else emotion
            for word in words:
                name = f"{speaker}_{word}_{emotion}.wav"
                path = root / f"{speaker}_{folder.title() if i else folder}" / name
                write_clip(path, seconds=0.6 + 0.1 * i, seed=sum(name.encode()))
    return root


def write_folders(root, emotions=("Happy", "anger", "excited"), clips=2):
    """Write one folder for each emotion."""
    for emotion in emotions:
        for i in range(clips):
            write_clip(root / emotion / f"clip {i}.flac", seed=i)
    return root
