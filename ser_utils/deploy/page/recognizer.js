// What ser_utils.deploy does around the model, for a browser: `EmotionRecognizer`, `is_speech`,
// `Steady`, `adapt_last_layer`. The names and the numbers are those of the Python code.

const NOT_SURE = "not sure";
const COLUMNS = 600;  // of a picture, at most
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const argmax = (numbers) => numbers.indexOf(Math.max(...numbers));

// ---- resampling

// Of the filter: its length, its window and its cutoff, such that it lets pass what soxr's does.
const CROSSINGS = 74, BETA = 10, ROLLOFF = 0.957;

function bessel(x) {  // I0, for Kaiser's window
  let term = 1, total = 1;
  for (let k = 1; term > 1e-12 * total; k++) total += term *= (x / (2 * k)) ** 2;
  return total;
}

const greatestDivisor = (a, b) => (b ? greatestDivisor(b, a % b) : a);

// Makes a function that brings a sound to another rate: a windowed sinc, a row of weights for each
// phase. Own code: browsers resample differently well, and Firefox opens no microphone at 16 kHz.
export function makeResampler(from, to) {
  if (from === to) return (y) => y;
  const divisor = greatestDivisor(from, to), phases = to / divisor, step = from / divisor;
  const cutoff = ROLLOFF * Math.min(1, to / from), half = Math.ceil(CROSSINGS / cutoff);
  const most = bessel(BETA);
  const weights = Array.from({ length: phases }, (_, phase) => {
    const row = new Float32Array(2 * half), part = ((phase * step) % phases) / phases;
    for (let k = 0; k < row.length; k++) {
      const t = k - half + 1 - part, x = Math.PI * cutoff * t;
      const window = bessel(BETA * Math.sqrt(Math.max(0, 1 - (t / half) ** 2))) / most;
      row[k] = cutoff * window * (x ? Math.sin(x) / x : 1);
    }
    return row;
  });
  return (y) => {
    const out = new Float32Array(Math.round((y.length * to) / from));
    for (let i = 0; i < out.length; i++) {
      const row = weights[i % phases], first = Math.floor((i * step) / phases) - half + 1;
      let total = 0;
      for (let k = Math.max(0, -first); k < row.length && first + k < y.length; k++) total += row[k] * y[first + k];
      out[i] = total;
    }
    return out;
  };
}

// ---- is there a voice?

const power = (y) => sum(y.map((sample) => sample * sample));

export function isLoud(y, { quiet }) {
  return y.length > 0 && Math.sqrt(power(y) / y.length) >= quiet;
}

// Makes the gate: a function that tells whether somebody speaks.
export function makeGate(sr, { quiet, pitch, top, grid, voiced, louder, glide, gliding }) {
  const n = Math.trunc(0.064 * sr), hop = n >> 1, low = Math.ceil((pitch[0] * n) / sr);
  const bins = Array.from({ length: Math.floor((top * n) / sr) + 1 - low }, (_, i) => low + i);
  const semitones = Math.ceil(12 * Math.log2(pitch[1] / pitch[0]) * grid);
  const fits = Array.from({ length: semitones }, (_, i) => {
    const hertz = pitch[0] * 2 ** (i / (12 * grid));
    return Float64Array.from(bins, (bin) => Math.cos((2 * Math.PI * sr * bin) / (n * hertz)));
  });
  const waves = bins.map((bin) => [Math.cos, Math.sin].map((wave) => Float64Array.from({ length: n }, (_, t) => (
    (0.5 - 0.5 * Math.cos((2 * Math.PI * t) / n)) * wave((2 * Math.PI * bin * t) / n)))));

  const correlate = (y, at, wave) => {
    let total = 0;
    for (let t = 0; t < n; t++) total += y[at + t] * wave[t];
    return total;
  };
  return (y) => {
    if (y.length < 2 * n || !isLoud(y, { quiet })) return false;
    const frames = [];
    for (let at = 0; at + n <= y.length; at += hop) {
      const spectrum = waves.map(([even, odd]) => correlate(y, at, even) ** 2 + correlate(y, at, odd) ** 2);
      const fit = fits.map((cosines) => sum(cosines.map((cosine, i) => cosine * spectrum[i])));
      frames.push({ power: sum(spectrum), best: argmax(fit), fit: Math.max(...fit) });
    }
    const sorted = frames.map((frame) => frame.power).sort((a, b) => a - b);
    const place = 0.1 * (sorted.length - 1), below = Math.floor(place);
    const floor = sorted[below] + (place - below) * (sorted[below + 1] - sorted[below]);
    const isVoiced = (frame) => frame.fit > voiced * frame.power && frame.power > louder * floor;
    const glides = frames.slice(1).filter((frame, i) => {
      const steps = Math.abs(frame.best - frames[i].best);
      return isVoiced(frame) && isVoiced(frames[i]) && steps >= glide[0] && steps <= glide[1];
    });
    return glides.length / (frames.length - 1) >= gliding;
  };
}

// ---- names that hold still

export class Steady {
  #shown;

  constructor(threshold, lead) {
    Object.assign(this, { threshold, lead });
  }

  forget() {
    this.#shown = undefined;
  }

  // The place of the emotion to show, or undefined.
  show(probabilities) {
    const best = argmax(probabilities);
    if (probabilities[this.#shown] < this.threshold - this.lead) this.forget();
    const leads = this.#shown === undefined || probabilities[best] - probabilities[this.#shown] >= this.lead;
    if (leads && probabilities[best] >= this.threshold) this.#shown = best;
    return this.#shown;
  }
}

// ---- the last layer

export function softmax(scores) {
  const most = Math.max(...scores), powers = scores.map((score) => Math.exp(score - most));
  return powers.map((one) => one / sum(powers));
}

const scoresOf = (numbers, { kernel, bias }) => bias.map((start, k) => (
  numbers.reduce((total, number, i) => total + number * kernel[i][k], start)));

// Fits the layer to the embeddings of one voice and keeps it near where it was: the same minimum
// as in Python, found by Nesterov's gradient descent because a browser has no L-BFGS.
export function adaptLastLayer(clips, layer, prototypes, pull = 1) {
  const n = layer.bias.length, known = new Set(clips.map((clip) => clip.label));
  const examples = clips.map(({ embedding, label }) => ({ x: [...embedding, 1], label, weight: 1 }));
  for (let label = 0; prototypes && label < n; label++) {
    if (!known.has(label)) examples.push({ x: [...prototypes[label], 1], label, weight: clips.length / known.size });
  }
  const start = [...layer.kernel, layer.bias];
  const zeros = () => start.map(() => new Float64Array(n));
  // No curvature is above this: that of the softmax is at most 1/2.
  const curvature = pull + sum(examples.map(({ x, weight }) => (weight * power(x)) / 2));
  const rate = Math.sqrt(pull / curvature), momentum = (1 - rate) / (1 + rate);
  let change = zeros(), ahead = zeros();
  for (let step = 0; step < 20 / rate; step++) {
    const gradient = ahead.map((row) => row.map((value) => pull * value));
    for (const { x, label, weight } of examples) {
      const scores = Array.from({ length: n }, (_, k) => x.reduce((total, value, i) => total + value * (start[i][k] + ahead[i][k]), 0));
      const wrong = softmax(scores).map((share, k) => weight * (share - (k === label)));
      gradient.forEach((row, i) => wrong.forEach((value, k) => { row[k] += x[i] * value; }));
    }
    const next = ahead.map((row, i) => row.map((value, k) => value - gradient[i][k] / curvature));
    ahead = next.map((row, i) => row.map((value, k) => value + momentum * (value - change[i][k])));
    change = next;
  }
  const adapted = start.map((row, i) => Array.from(row, (value, k) => value + change[i][k]));
  return { kernel: adapted.slice(0, -1), bias: adapted.at(-1) };
}

// ---- all together

// `settings` is app.json, `run` asks the model: (samples, n) => {embedding, decibels}.
export class Recognizer {
  #resamplers = {};

  constructor(settings, run) {
    Object.assign(this, { settings, run });
    this.know([]);
    this.isSpeech = makeGate(settings.sr, settings.gate);
  }

  resample(y, from) {
    this.#resamplers[from] ??= makeResampler(from, this.settings.sr);
    return this.#resamplers[from](y);
  }

  async ask(y) {
    const { emotions, sr, duration } = this.settings;
    const samples = new Float32Array(duration * sr), n = Math.min(y.length, samples.length);
    samples.set(y.subarray(0, n));
    const { embedding, decibels } = await this.run(samples, n);
    const p = softmax(scoresOf(embedding, this.layer));
    return { p, embedding, decibels, probabilities: Object.fromEntries(emotions.map((name, k) => [name, p[k]])) };
  }

  windows(y) {
    const { sr, duration, shortest, window, step } = this.settings, seconds = y.length / sr;
    if (seconds < shortest) {
      throw new Error(`It lasts ${seconds.toFixed(2)} s and must last at least ${shortest} s; record more.`);
    }
    if (seconds <= duration) return [{ start: 0, end: seconds, wave: y }];
    const count = Math.ceil((seconds - window + step) / step);
    return Array.from({ length: count }, (_, i) => {
      const start = i * step, end = Math.min(start + window, seconds);
      return { start, end, wave: y.subarray(start * sr, (start + window) * sr) };
    });
  }

  // The answer about a whole sound at our rate; as EmotionRecognizer.predict.
  async predict(y) {
    const { emotions, sr, threshold, gate, hop_length: hop } = this.settings;
    const seconds = y.length / sr, timeline = [], columns = [];
    let drawn = 0;
    for (const { start, end, wave } of this.windows(y)) {
      const { p, probabilities, decibels } = await this.ask(wave);
      const sure = Math.max(...p) >= threshold && isLoud(wave, gate);
      timeline.push({ start, end, emotion: sure ? emotions[argmax(p)] : NOT_SURE, ...probabilities });
      if (start < drawn) continue;  // the windows overlap
      columns.push(...this.#columns(decibels, 1 + Math.floor(wave.length / hop)));
      drawn = end;
    }
    const mean = emotions.map((name) => sum(timeline.map((row) => row[name])) / timeline.length);
    const sure = Math.max(...mean) >= threshold && timeline.some(({ emotion }) => emotion !== NOT_SURE);
    const probabilities = Object.fromEntries(emotions.map((name, k) => [name, mean[k]]));
    const emotion = sure ? emotions[argmax(mean)] : NOT_SURE;
    return { emotion, probabilities, timeline, seconds, picture: this.picture(y, columns) };
  }

  // The numbers that describe a recording of a voice; as in EmotionRecognizer.enrol.
  async embed(y) {
    const embeddings = [];
    for (const { wave } of this.windows(y)) {
      if (isLoud(wave, this.settings.gate)) embeddings.push((await this.ask(wave)).embedding);
    }
    if (!embeddings.length) throw new Error("Nobody speaks in it; record it again, and louder.");
    return embeddings[0].map((_, i) => sum(embeddings.map((one) => one[i])) / embeddings.length);
  }

  // Answers for the voice of these clips ({emotion, embedding}), or for any voice if there are none.
  know(clips) {
    const { emotions, kernel, bias, prototypes } = this.settings, layer = { kernel, bias };
    const labelled = clips.map(({ emotion, embedding }) => ({ embedding, label: emotions.indexOf(emotion) }));
    this.layer = clips.length ? adaptLastLayer(labelled, layer, prototypes) : layer;
  }

  // A decision about the latest seconds of a stream; as the server's.
  async decide(y, steady) {
    const { emotions, sr, heard, hop_length: hop } = this.settings;
    const latest = y.subarray(-Math.trunc(heard * sr));
    const { p, probabilities, decibels } = await this.ask(latest);
    const shown = this.isSpeech(y) ? steady.show(p) : steady.forget();
    const picture = this.picture(latest, this.#columns(decibels, 1 + Math.floor(latest.length / hop)));
    return { emotion: emotions[shown] ?? NOT_SURE, probabilities, picture };
  }

  #columns(decibels, n) {
    const { n_mels: bands } = this.settings;
    return Array.from({ length: n }, (_, i) => decibels.subarray(i * bands, (i + 1) * bands));
  }

  // What is drawn: 0 is 80 dB below the loudest, 255 the loudest; the level is the largest sample.
  picture(y, columns) {
    const { sr, n_mels: bands, hop_length: hop } = this.settings, step = Math.ceil(columns.length / COLUMNS);
    const kept = columns.filter((_, i) => i % step === 0), loudest = Math.max(...columns.map((column) => Math.max(...column)));
    const byte = (share) => Math.round(255 * Math.max(0, Math.min(1, share)));
    const mel = Uint8Array.from(kept.flatMap((column) => Array.from(column, (value) => byte((value - loudest) / 80 + 1))));
    const level = Uint8Array.from(kept, (_, i) => {
      let peak = 0;
      for (let t = i * step * hop; t < Math.min(y.length, (i + 1) * step * hop); t++) peak = Math.max(peak, Math.abs(y[t]));
      return byte(peak);
    });
    return { bands, mel, level, seconds: y.length / sr, hertz: sr / 2 };
  }
}
