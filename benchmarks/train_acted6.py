"""Make the model that comes along, ``ser_utils/deploy/acted6``, and measure it.

    python benchmarks/train_acted6.py --ravdess FOLDER --emodb FOLDER --tess FOLDER

Six emotions of RAVDESS, in English, are learned. Three times a network is trained on ten actors and
asked about five others; all figures about RAVDESS, the temperature and the threshold come from
these. The network that is saved has learned from all fifteen. It is asked about EmoDB (German, four
emotions) and TESS (two women, one look), which no network here has heard.

Clips are heard as the recogniser hears them: in windows of three seconds. Networks stay in
``output/acted6``, and figures go to ``acted6.csv``.
"""

import argparse
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy
from enrol import balanced
from record import HERE, commit

from ser_utils import (
    EmotionRecognizer,
    FeatureConfig,
    drop_flagged,
    extract_corpus,
    import_keras,
    load_audio,
    output_dir,
    scan_corpus,
    set_seed,
)
from ser_utils.augmentation import add_noise, crop_times, warp_voices
from ser_utils.deploy.recognizer import STEP, WINDOW, sure_threshold
from ser_utils.evaluation import (
    RAVDESS_FOLDS,
    apply_temperature,
    calibration_error,
    few_clips_splits,
    fit_temperature,
    protocol_splits,
    speaker_interval,
)
from ser_utils.models import adapt_last_layer, build_crnn

CONDITION_COLUMNS = ["UAR, %", "named, %", "right of these, %", "calibration error, %"]
BUNDLE = HERE.parent / "ser_utils" / "deploy" / "acted6"
EMOTIONS = ["angry", "fear", "happy", "neutral", "sad", "surprise"]
CONFIG = FeatureConfig(kinds=("mel",), duration=3.0)
HEARD = replace(CONFIG, duration=5.0)  # whole clips, of which training crops three seconds
FRAMES = 1 + int(CONFIG.duration * CONFIG.sr) // CONFIG.hop_length
BATCH, SEEDS, SHOTS = 48, (0, 1), (1, 2, 3, 5, 10)
PROMISE = 0.8  # of the clips that get a name, so many are right
LICENCE = "CC BY-NC-SA 4.0, as RAVDESS demands of what is made of it"
WOMEN = ["08", "09", "13", "14", "16", "OAF", "YAF"]  # of EmoDB and TESS; RAVDESS's are even


def read(folder):
    """Scan a corpus and keep the clips of the six emotions."""
    clips = drop_flagged(scan_corpus(folder)).replace({"emotion": {"ps": "surprise"}})
    return clips[clips["emotion"].isin(EMOTIONS)].reset_index(drop=True)


def to_numbers(clips):
    return np.array([EMOTIONS.index(emotion) for emotion in clips["emotion"]])


def train(X, clips, seed):
    """Train on these clips: balanced batches, warped, in a noisy room."""
    set_seed(seed)
    model, Y = build_crnn(X.shape[2], len(EMOTIONS)), np.eye(len(EMOTIONS))[to_numbers(clips)]
    for step, rows in enumerate(balanced(clips, np.random.default_rng(seed), BATCH)):
        rng, rows = np.random.default_rng([seed, step]), np.sort(rows)
        model.train_on_batch(
            add_noise(warp_voices(crop_times(X[rows], rng, frames=FRAMES), rng), rng), Y[rows]
        )
    return model


def trained(name, X, clips, seed):
    """Train a network, or load it where this has been done."""
    file = output_dir() / "acted6" / f"{name}.keras"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        train(X, clips, seed).save(file)
    model = import_keras().models.load_model(file, compile=False)
    about = {"corpora": ["ravdess"], "protocol": "", "figures": {}, "licence": LICENCE}
    return EmotionRecognizer(model, EMOTIONS, config=CONFIG, about=about)


def telephone(y, rng):
    """Keep 300 to 3400 Hz."""
    band = scipy.signal.butter(6, (300, 3400), "bandpass", fs=CONFIG.sr, output="sos")
    return scipy.signal.sosfilt(band, y).astype(np.float32)


def noisy(y, rng, decibels):
    """Add white noise, so many decibels below the clip's mean power."""
    noise = rng.standard_normal(len(y)) * np.sqrt(np.mean(y**2)) * 10 ** (-decibels / 20)
    return (y + noise).astype(np.float32)


CONDITIONS = {
    "as recorded": lambda y, rng: y,
    "noise, 20 dB": lambda y, rng: noisy(y, rng, 20),
    "noise, 10 dB": lambda y, rng: noisy(y, rng, 10),
    "noise, 0 dB": lambda y, rng: noisy(y, rng, 0),
    "telephone": telephone,
}


def embed(recognizer, clips, condition="as recorded"):
    """What the recogniser hears in each clip, the mean of its windows."""
    rng, length = np.random.default_rng(0), int(WINDOW * CONFIG.sr)
    windows, owners = [], []
    for i, path in enumerate(clips["path"]):
        y = CONDITIONS[condition](load_audio(path, sr=CONFIG.sr)[0], rng)
        step = int(STEP * CONFIG.sr)
        starts = range(0, len(y) - length + step, step) if len(y) > length else [0]
        windows += [y[start : start + length] for start in starts]
        owners += [i] * len(starts)
    return pd.DataFrame(recognizer.embed(windows)).groupby(owners).mean().to_numpy()


def probabilities(recognizer, embedded):
    return scipy.special.softmax(embedded @ recognizer.kernel + recognizer.bias, axis=1)


def tabulate(clips, said, threshold, **names):
    """A row for each clip: who speaks, the truth, the answer, and how sure it is."""
    speaker, number = clips["speaker"], clips["speaker"].str.extract(r"(\d+)")[0]
    women = number.astype(float) % 2 == 0 if names["tested"] == "ravdess" else speaker.isin(WOMEN)
    columns = {"emotion": clips["emotion"], "speaker": speaker}
    columns["gender"] = np.where(women, "women", "men")
    columns |= {"answer": np.array(EMOTIONS)[said.argmax(axis=1)], "sure": said.max(axis=1)}
    table = pd.DataFrame(columns | names).reset_index(drop=True)
    table["right"] = table["answer"] == table["emotion"]
    table["named"] = table["sure"] >= threshold
    return table


def figures(table, **names):
    """Scores of all clips, and of each emotion, gender and speaker; a row for each."""
    parts = [("all", "", table)]
    for by in ("emotion", "gender", "speaker"):
        parts += [(by, group, part) for group, part in table.groupby(by)]
    rows = []
    for by, group, part in parts:
        low, high = speaker_interval(part.groupby("speaker")["right"].mean())
        row = {"by": by, "group": group, "clips": len(part), "right": part["right"].mean()}
        row |= {"low": low, "high": high, "uar": part.groupby("emotion")["right"].mean().mean()}
        row |= {
            "named": part["named"].mean(),
            "right_of_named": part["right"][part["named"]].mean(),
        }
        row["calibration_error"] = calibration_error(part["sure"], part["right"])[0]
        rows.append(names | row)
    return rows


def meet(recognizer, clips, embedded, prototypes):
    """Accuracy after k clips of each emotion, means of 20 drawings: for each k, of each speaker."""
    labels, layer = to_numbers(clips), (recognizer.kernel, recognizer.bias)
    right = probabilities(recognizer, embedded).argmax(axis=1) == labels
    found = {0: pd.Series(right).groupby(clips["speaker"].to_numpy()).mean().to_dict()}
    for k in SHOTS:
        for name, part in clips.groupby("speaker"):
            if part["emotion"].value_counts().min() <= k:
                continue
            drawn, own = [], part.index.to_numpy()
            for support, query, _ in few_clips_splits(part, k):
                learn, test = own[support], own[query]
                learned = embedded[learn], labels[learn]
                kernel, bias = adapt_last_layer(*learned, *layer, prototypes=prototypes)
                answers = (embedded[test] @ kernel + bias).argmax(axis=1)
                drawn.append(np.mean(answers == labels[test]))
            found.setdefault(k, {})[name] = np.mean(drawn)
    return found


def few_clips(found, **names):
    """Rows for what `meet` found in several fits."""
    rows = []
    for k in sorted({k for each in found for k in each}):
        speakers = pd.DataFrame([each[k] for each in found if k in each]).mean()
        low, high = speaker_interval(speakers)
        row = {"by": "clips of the voice", "group": k, "right": speakers.mean()}
        rows.append(names | row | {"low": low, "high": high})
    return rows


def prototypes_of(recognizer, clips):
    """Mean of what the network hears in each emotion's clips."""
    embedded, labels = embed(recognizer, clips), to_numbers(clips)
    return np.array([embedded[labels == k].mean(axis=0) for k in range(len(EMOTIONS))])


def cross_validate(X, clips):
    """Ask networks about actors they have not heard.

    The temperature and the threshold that a fold is judged by come from the two other folds.

    Returns
    -------
    rows : list of dict
        Figures.
    temperature, threshold : float
        From all actors, for the network that is saved.
    """
    labels, said, found = to_numbers(clips), {}, []
    splits = list(protocol_splits(clips, "unseen speaker", folds=RAVDESS_FOLDS))
    for fold, own, test in splits:
        learned = clips.iloc[own].reset_index(drop=True)
        for seed in SEEDS:
            recognizer = trained(f"fold {fold}, seed {seed}", X[own], learned, seed)
            part = clips.iloc[test].reset_index(drop=True)
            for condition in CONDITIONS:
                embedded = embed(recognizer, part, condition)
                said[condition, seed, fold] = probabilities(recognizer, embedded)
                if condition == "as recorded":
                    found.append(
                        meet(recognizer, part, embedded, prototypes_of(recognizer, learned))
                    )
            print("fold", fold, "seed", seed, flush=True)

    def calibrate(folds):
        """Temperature and threshold from the clean clips of some folds."""
        chosen = [(seed, fold, test) for fold, _, test in splits for seed in SEEDS if fold in folds]
        asked = np.concatenate([said["as recorded", seed, fold] for seed, fold, _ in chosen])
        truth = np.concatenate([labels[test] for *_, test in chosen])
        temperature = fit_temperature(asked, truth)
        sure = apply_temperature(asked, temperature)
        return temperature, sure_threshold(sure, truth, accuracy=PROMISE)

    names, rows = [fold for fold, _, _ in splits], []
    for condition in CONDITIONS:
        tables = []
        for fold, _, test in splits:
            temperature, threshold = calibrate([name for name in names if name != fold])
            for seed in SEEDS:
                scaled = apply_temperature(said[condition, seed, fold], temperature)
                tables.append(tabulate(clips.iloc[test], scaled, threshold, tested="ravdess"))
        rows += figures(pd.concat(tables), tested="ravdess", condition=condition)
    rows += few_clips(found, tested="ravdess", condition="as recorded")
    return rows, *calibrate(names)


def test_elsewhere(recognizer, folder, prototypes):
    """Ask the final network about a corpus it has not heard."""
    clips, rows = read(folder), []
    corpus = clips["corpus"].iloc[0]
    for condition in CONDITIONS:
        embedded = embed(recognizer, clips, condition)
        said = probabilities(recognizer, embedded)
        table = tabulate(clips, said, recognizer.threshold, tested=corpus)
        rows += figures(table, tested=corpus, condition=condition)
        if condition == "as recorded":
            found = [meet(recognizer, clips, embedded, prototypes)]
            rows += few_clips(found, tested=corpus, condition=condition)
    return rows


def to_markdown(table):
    """Write a table of text as Markdown."""
    rows = [table.columns, ["---"] * table.shape[1], *table.fillna("").to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def percent(share):
    return "" if pd.isna(share) else f"{100 * share:.1f}"


def fill_card(text, rows, live):
    """Put figures into the tables of the model card.

    Parameters
    ----------
    text : str
        The card; what stands between ``<!-- name -->`` and ``<!-- end -->`` is replaced.
    rows, live : pd.DataFrame
        ``acted6.csv`` and ``live.csv``.

    Returns
    -------
    str
    """
    ends = [
        "" if pd.isna(low) else f" ({100 * low:.0f} to {100 * high:.0f})"
        for low, high in zip(rows["low"], rows["high"], strict=True)
    ]
    rows = rows.assign(right_percent=rows["right"].map(percent) + ends)
    clean = rows[rows["condition"] == "as recorded"]
    shares = ["uar", "named", "right_of_named", "calibration_error"]
    conditions = rows[rows["by"] == "all"].copy()
    conditions[shares] = conditions[shares].map(percent)
    conditions = conditions[["tested", "condition", "right_percent", *shares]]
    conditions.columns = ["corpus", "sound", "right, %", *CONDITION_COLUMNS]
    people = clean[clean["by"].isin(["gender", "speaker"])]
    people = people[["tested", "group", "clips", "right_percent"]].astype({"clips": int})
    people.columns = ["corpus", "who", "clips", "right, %"]
    tables = {"conditions": conditions, "people": people}
    for name, by in (("emotions", "emotion"), ("enrolled", "clips of the voice")):
        part = clean[clean["by"] == by].assign(group=clean["group"].astype(str))
        table = part.pivot(index="group", columns="tested", values="right_percent")
        table = table.reindex(part["group"].unique(), columns=part["tested"].unique())
        tables[name] = table.rename_axis(f"{by}; right, %").reset_index()
    sounds = live.dropna(subset="named without the gate")[["what", *live.columns[1:4]]].copy()
    tables["live"] = sounds.assign(
        **{name: sounds[name].map(percent) for name in sounds.columns[1:]}
    )
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, rf"\1\n{to_markdown(table)}\n\n\2", text, flags=re.DOTALL)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ravdess", help="to learn from")
    parser.add_argument("--emodb", help="to be tested")
    parser.add_argument("--tess", help="to be tested")
    parser.add_argument("--card", action="store_true", help="only fill the model card anew")
    options = parser.parse_args()
    if options.card:
        return write_card()
    clips = read(options.ravdess)
    X, _, clips, _ = extract_corpus(clips, config=HEARD)
    rows, temperature, threshold = cross_validate(X, clips)
    final = trained("all actors, seed 0", X, clips, 0)
    prototypes = prototypes_of(final, clips)
    layer = final.model.layers[-1]
    layer.set_weights([part / temperature for part in layer.get_weights()])
    all_of_it = next(row for row in rows if row["by"] == "all")
    about = {
        "corpora": ["ravdess"],
        "protocol": "actors it had not heard (three folds of five actors, two seeds)",
        "figures": {
            "right": f"{all_of_it['right']:.0%}",
            "named": f"{all_of_it['named']:.0%}",
            "right of those": f"{all_of_it['right_of_named']:.0%}",
        },
        "licence": LICENCE,
        "made": {"script": "benchmarks/train_acted6.py", "commit": commit(), "seed": 0},
    }
    settings = {"config": CONFIG, "threshold": threshold, "about": about}
    final = EmotionRecognizer(final.model, EMOTIONS, prototypes=prototypes, **settings)
    for folder in (options.emodb, options.tess):
        rows += test_elsewhere(final, folder, prototypes) if folder else []
    pd.DataFrame(rows).round(4).to_csv(HERE / "acted6.csv", index=False)
    text = (BUNDLE / "MODEL_CARD.md").read_text(encoding="utf-8")
    final.save(BUNDLE)  # replaces the folder
    (BUNDLE / "MODEL_CARD.md").write_text(text, encoding="utf-8")
    write_card()


def write_card():
    """Fill the model card with what is recorded."""
    card = BUNDLE / "MODEL_CARD.md"
    records = [pd.read_csv(HERE / name) for name in ("acted6.csv", "live.csv")]
    card.write_text(fill_card(card.read_text(encoding="utf-8"), *records), encoding="utf-8")


if __name__ == "__main__":
    main()
