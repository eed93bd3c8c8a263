// The engine inside the page: a worker asks the model. No sound leaves the device.
import { GONE } from "./text.js";

// Hz, that a file is decoded at: its own rate, because the worker resamples better than browsers do.
// They do not tell that rate, but the first bytes of a WAV or FLAC file do. MP3 and OGG files have
// 44.1 or 48 kHz as a rule, and at 48 kHz nothing is lost of what the model listens to.
function rateOf(content) {
  const bytes = new DataView(content), is = (name) => [...name].every((letter, i) => bytes.getUint8(i) === letter.charCodeAt(0));
  const rate = content.byteLength < 44 ? 0
    : is("RIFF") ? bytes.getUint32(24, true) : is("fLaC") ? bytes.getUint32(18) >>> 12 : 0;
  return rate >= 8000 && rate <= 96000 ? rate : 48000;
}

export async function openEngine(tell) {
  const worker = new Worker("worker.js"), waiting = {};
  let jobs = 0, received = 0, bytes = Infinity;
  const engine = new Engine((job, argument, move = []) => new Promise((resolve, reject) => {
    waiting[++jobs] = { resolve, reject };
    worker.postMessage({ id: jobs, job, argument }, move);
  }));
  const count = (more) => tell(Math.min(1, (received += more) / bytes));
  worker.onmessage = ({ data: { id, value, error, received: more, answer } }) => {
    if (more) return count(more);
    if (answer) return engine.hear?.(answer);
    if (error) waiting[id].reject(new Error(error)); else waiting[id].resolve(value);
    delete waiting[id];
  };
  worker.onerror = () => Object.values(waiting).forEach(({ reject }) => reject(new Error(GONE)));
  try {
    const model = fetch("model.tflite.zlib").then((response) => unpack(response, count));
    const settings = await (await fetch("app.json")).json();
    ({ about: engine.about, bytes } = settings);
    const file = await model, files = await engine.ask("load", { settings, file }, [file]);
    engine.kept = keepForOffline(files, engine).catch(() => false);
  } catch {
    throw new Error(GONE);
  }
  await engine.remember();
  return engine;
}

async function unpack({ body }, count) {
  const counting = new TransformStream({
    transform(chunk, out) {
      count(chunk.byteLength);
      out.enqueue(chunk);
    },
  });
  return new Response(body.pipeThrough(counting).pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}

class Engine {
  #clips = [];  // {emotion, embedding}: what is known of a voice
  newer = () => {};  // called with a function that takes over a newer version of the page

  constructor(ask) {
    this.ask = ask;
  }

  count(emotion) {
    return this.#clips.filter((clip) => clip.emotion === emotion).length;
  }

  async predict(file) {
    const content = await file.arrayBuffer(), rate = rateOf(content), { seconds } = this.about.limits;
    let sound;
    try {
      sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(content);
    } catch {
      throw new Error("This is not readable audio; choose a WAV, FLAC, OGG or MP3 file.");
    }
    if (sound.duration > seconds) {
      throw new Error(`The sound lasts ${sound.duration.toFixed(0)} s, at most ${seconds} s are taken; cut it.`);
    }
    const channels = Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i).slice());
    return this.ask("predict", { channels, rate }, channels.map(({ buffer }) => buffer));
  }

  listen(rate, hear) {
    this.hear = hear;
    this.ask("listen", { rate });
    return {
      send: (chunk) => this.ask("hear", chunk, [chunk.buffer]),
      close: () => { this.hear = undefined; },
    };
  }

  // True if the recording counts from now on, false if `forget` came before the answer.
  async teach(emotion, chunks, rate) {
    const known = this.#clips, embedding = await this.ask("embed", { chunks, rate });
    if (known !== this.#clips) return false;
    await this.#use([...known, { emotion, embedding }]);
    return true;
  }

  forget() {
    return this.#use([]);
  }

  async #use(clips) {
    this.#clips = clips;
    await this.ask("know", clips);
    const store = await voices("readwrite");
    await done(store.put(clips, this.about.model));
  }

  // Another model describes a voice by other numbers, so what it knew is deleted.
  async remember() {
    const store = await voices("readwrite");
    const clips = await done(store.get(this.about.model));
    if (clips?.length) {
      this.#clips = clips;
      await this.ask("know", clips);
    } else {
      (await voices("readwrite")).clear();
    }
  }
}

// ---- what is kept: the voice in IndexedDB, the files of the page in caches

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function voices(mode) {
  const opening = indexedDB.open("ser-voice", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("clips");
  return (await done(opening)).transaction("clips", mode).objectStore("clips");
}

// The service worker keeps the page and the model. Of LiteRT.js it keeps what passes through it: the
// files that this browser needs. They are asked for again here, and come from the browser's cache.
async function keepForOffline(files, engine) {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return false;  // the page came neither by https nor from this machine
  const replaced = Boolean(serviceWorker.controller);
  const controlled = new Promise((resolve) => {
    if (replaced) resolve();
    serviceWorker.oncontrollerchange = () => (replaced ? location.reload() : resolve());
  });
  const registration = await serviceWorker.register("sw.js", { updateViaCache: "none" });
  const offer = (worker) => engine.newer(() => worker.postMessage("take over"));
  if (registration.waiting) offer(registration.waiting);
  registration.onupdatefound = () => {
    const { installing } = registration;
    installing.onstatechange = () => installing.state === "installed" && replaced && offer(installing);
  };
  await controlled;
  await Promise.all(files.filter((file) => file.includes("/litert/")).map((file) => fetch(file)));
  return true;
}
