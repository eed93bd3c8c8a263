"""The claims about speed, as ratios in one run: features, audit, cache, and training.

    SER_DATA_DIR=path/to/tess make bench

Features: the loop of public notebooks, clip after clip, against ``extract_corpus`` with the same
settings, once with one BLAS/OpenMP thread a process on both sides and once with the default; and
against the floor, the work that cannot be left out. Audit: against decoding alone. Of three
timings the least counts, the one that other work disturbed least.
Training: seconds of the reference model's 50 epochs against seconds until the sequence model has
reached the reference model's last validation accuracy. Nothing else should run meanwhile.
"""

import argparse
import os
import subprocess
import sys
import time

import librosa
import numpy as np
import scipy
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from ser_utils import (
    REFERENCE_CONFIG,
    audit_corpus,
    data_dir,
    extract_corpus,
    import_keras,
    load_audio,
    scan_corpus,
)

THREADS = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]


def timed(function, *args, repeats=1, **kwargs):
    """Call a function and return its result and the least seconds that it took."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def reference_loop(paths):
    """What many public notebooks do, clip after clip."""
    rows = []
    for path in paths:
        y, sr = librosa.load(path, duration=3, offset=0.5)
        rows.append(np.mean(librosa.feature.mfcc(y=y, sr=sr, n_mfcc=40).T, axis=0))
    return np.array(rows)


def floor(paths):
    """Seconds, on one core, of the work that cannot be left out."""
    config, half = REFERENCE_CONFIG, REFERENCE_CONFIG.n_fft // 2

    def decode():
        settings = {"offset": config.offset, "duration": config.duration}
        return [load_audio(path, sr=None, **settings) for path in paths]

    def resample():
        return [soxr.resample(y, sr, config.sr) for y, sr in sounds]

    def transform():
        for y in waves:
            frames = sliding_window_view(np.pad(y, half), config.n_fft)[:: config.hop_length]
            scipy.fft.rfft(np.array(frames))

    sounds, decoding = timed(decode, repeats=3)
    waves, resampling = timed(resample, repeats=3)
    _, transforming = timed(transform, repeats=3)
    return {"decode": decoding, "resample": resampling, "Fourier transform": transforming}


def show(what, seconds, **ratios):
    said = "".join(f", {name.replace('_', ' ')} {value:.2f}" for name, value in ratios.items())
    print(f"  {what:36}{seconds:7.2f} s{said}")


def measure_features(corpus):
    paths = corpus["path"].tolist()
    reference_loop(paths[:3])  # librosa compiles and loads at the first call
    settings = {"config": REFERENCE_CONFIG}
    slow, loop = timed(reference_loop, paths, repeats=3)
    _, first = timed(extract_corpus, corpus, cache=False, **settings)
    fast, seconds = timed(extract_corpus, corpus, cache=False, repeats=3, **settings)
    extract_corpus(corpus, **settings)
    _, cached = timed(extract_corpus, corpus, **settings)
    parts = floor(paths)
    share = sum(parts.values()) / os.cpu_count()
    print(f"  largest difference of a figure      {np.abs(slow - fast.X).max():.1e}")
    show("reference loop", loop)
    show("extract_corpus, starting workers", first, loop=loop / first)
    show("extract_corpus, workers there", seconds, loop=loop / seconds, floor=seconds / share)
    show("extract_corpus, from the cache", cached, loop=loop / cached)
    for name, value in parts.items():
        show(f"floor, one core: {name}", value)


def measure_audit(corpus):
    def decode():
        return [load_audio(path, sr=None) for path in corpus["path"]]

    share = timed(decode, repeats=3)[1] / os.cpu_count()
    _, first = timed(audit_corpus, corpus, cache=False)
    _, seconds = timed(audit_corpus, corpus, cache=False, repeats=3)
    audit_corpus(corpus)
    _, cached = timed(audit_corpus, corpus, repeats=3)
    show("decoding alone, on all cores", share)
    show("audit_corpus, starting workers", first, decoding=first / share)
    show("audit_corpus, workers there", seconds, decoding=seconds / share)
    show("audit_corpus, from the cache", cached, decoding=cached / share)


def measure_training(corpus, seed):
    from accuracy import prepare

    keras = import_keras()
    network, data = prepare("reference", "random", seed, corpus)
    history, reference_seconds = timed(network.fit, **data, epochs=50, verbose=0)
    target = history.history["val_accuracy"][-1]
    network, data = prepare("sequence", "random", seed, corpus)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.stop_training = logs["val_accuracy"] >= target

    settings = {"epochs": 50, "verbose": 0, "callbacks": [Stop()]}
    history, seconds = timed(network.fit, **data, **settings)
    epochs, reached = len(history.epoch), history.history["val_accuracy"][-1]
    print(f"  seed {seed}: reference, 50 epochs {reference_seconds:.0f} s, last {target:.4f}")
    print(f"          sequence, {epochs} epochs {seconds:.0f} s, last {reached:.4f}")
    print(f"          share of the seconds: {seconds / reference_seconds:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=["features", "audit", "training"])
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each model")
    arguments = parser.parse_args()
    corpus = scan_corpus(data_dir())
    if arguments.part == "features":
        return measure_features(corpus)
    if arguments.part == "audit":
        return measure_audit(corpus)
    if arguments.part == "training":
        return [measure_training(corpus, seed) for seed in range(arguments.seeds)]
    print(f"{len(corpus)} clips of {corpus['corpus'].iloc[0]}, {os.cpu_count()} cores")
    for name, threads in (("one thread a process", dict.fromkeys(THREADS, "1")), ("default", {})):
        print(f"features, {name}", flush=True)
        subprocess.run([sys.executable, __file__, "features"], env=os.environ | threads, check=True)
    print("audit", flush=True)
    subprocess.run([sys.executable, __file__, "audit"], check=True)
    print("training", flush=True)
    command = [sys.executable, __file__, "training", "--seeds", str(arguments.seeds)]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
