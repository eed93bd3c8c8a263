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
  const broken = new Promise((_, reject) => { worker.onerror = () => reject(new Error(GONE)); });
  broken.catch(() => {});  // whoever asks is told
  const engine = new Engine((job, argument, move = []) => Promise.race([broken, new Promise((resolve, reject) => {
    waiting[++jobs] = { resolve, reject };
    worker.postMessage({ id: jobs, job, argument }, move);
  })]));
  const count = (more) => tell(Math.min(1, (received += more) / bytes));
  worker.onmessage = ({ data: { id, value, error, received: more, answer } }) => {
    if (more) return count(more);
    if (answer) return engine.hear?.(answer);
    if (error) waiting[id].reject(new Error(error)); else waiting[id].resolve(value);
    delete waiting[id];
  };
  let files;
  try {
    const model = fetch("model.tflite.zlib").then((response) => unpack(response, count));
    const settings = await (await fetch("app.json")).json();
    ({ about: engine.about, bytes } = settings);
    const file = await model;
    files = await engine.ask("load", { settings, file }, [file]);
  } catch {
    throw new Error(GONE);
  }
  await engine.remember().catch(() => {});  // a private window may keep nothing
  engine.kept = keepForOffline(files, engine).catch(() => false);
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

  // Calls `hear` with each decision, and `end` with a sentence if the worker fails.
  listen(rate, hear, end) {
    this.hear = hear;
    this.ask("listen", { rate });
    return {
      send: (chunk) => this.ask("hear", chunk, [chunk.buffer]).catch(({ message }) => end(message)),
      close: () => { this.hear = undefined; },
    };
  }

  // True if the recording counts from now on, false if `forget` came before the answer.
  async teach(emotion, chunks, rate) {
    const known = this.#clips, embedding = await this.ask("embed", { chunks, rate });
    if (known !== this.#clips) return false;
    await this.#use([...known, { emotion, embedding }]);
    await this.#keep().catch(() => {});  // then it is known until the page is closed
    return true;
  }

  async forget() {
    await this.#use([]);
    await this.#keep();
  }

  async #use(clips) {
    this.#clips = clips;
    await this.ask("know", clips);
  }

  async #keep() {
    const store = await voices("readwrite");
    await done(store.put(this.#clips, this.about.model));
  }

  // Another model describes a voice by other numbers, so what it knew is deleted.
  async remember() {
    const store = await voices("readwrite");
    const clips = await done(store.get(this.about.model));
    if (clips?.length) {
      await this.#use(clips);
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
  const place = new URL(".", location.href).pathname;  // another app of this host has its own
  const opening = indexedDB.open(`ser-voice ${place}`, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("clips");
  return (await done(opening)).transaction("clips", mode).objectStore("clips");
}

// The service worker keeps the page and the model, and the two files of the runtime that this browser
// needs. They are there already, so they come from the browser's cache.
async function keepForOffline(files, engine) {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return false;  // the page came neither by https nor from this machine
  const replaced = Boolean(serviceWorker.controller);
  let asked = false;  // whether this page is to be replaced; another tab may go on as it is
  serviceWorker.oncontrollerchange = () => asked && location.reload();
  const registration = await serviceWorker.register("sw.js", { updateViaCache: "none" });
  const offer = (worker) => replaced && engine.newer(() => { asked = true; worker.postMessage("take over"); });
  const watch = (worker) => { worker.onstatechange = () => worker.state === "installed" && offer(worker); };
  if (registration.waiting) offer(registration.waiting);
  if (registration.installing) watch(registration.installing);
  registration.onupdatefound = () => watch(registration.installing);
  const { active } = await serviceWorker.ready, { port1, port2 } = new MessageChannel();
  active.postMessage({ keep: files }, [port2]);
  return new Promise((resolve) => { port1.onmessage = ({ data }) => resolve(data); });
}
