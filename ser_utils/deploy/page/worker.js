// The engine's own thread, so that the page never waits: LiteRT.js and the recogniser. A classic
// worker, because LiteRT.js loads its WebAssembly with importScripts, which a module worker lacks.
"use strict";

let recognizer, Steady;
let stream;  // {rate, steady, sound, fresh (samples since the last decision), busy}

// Tells the page how many bytes of the WebAssembly came in, and which of its files this browser needs.
// LiteRT.js chooses and fetches it, and tells nothing.
const plain = self.fetch;
let runtime;
self.fetch = async (...request) => {
  const response = await plain(...request), { headers, status } = response;
  if (!response.body) return response;
  runtime = response.url;
  const count = new TransformStream({
    transform(chunk, out) {
      postMessage({ received: chunk.byteLength });
      out.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(count), { headers, status });
};

// LiteRT.js and our code, while the page fetches settings and model.
const libraries = Promise.all([import("./litert/core.js"), import("./recognizer.js")]).then(async ([litert, code]) => {
  // It would look for its files beside this one, tell everything as errors, and ask for a GPU, which
  // a model as small as ours does not need.
  const tell = (line) => (/^(INFO|WARNING)/.test(line) ? console.debug(line) : console.error(line));
  self.Module = { locateFile: (name) => `litert/${name}`, printErr: tell };
  Object.defineProperty(navigator, "gpu", { value: undefined });
  await litert.loadLiteRt("litert");
  return [litert, code];
});

async function load({ settings, file }) {
  const [litert, code] = await libraries;
  const model = await litert.loadAndCompile(new Uint8Array(file), { accelerator: "wasm" });
  Steady = code.Steady;
  recognizer = new code.Recognizer(settings, (samples, n) => run(litert.Tensor, model, samples, n));
  await run(litert.Tensor, model, new Float32Array(settings.duration * settings.sr), 8000);  // warms up
  return [runtime, runtime.replace(/wasm$/, "js")];
}

async function run(Tensor, model, samples, n) {
  const inputs = {
    samples: new Tensor(samples, [1, samples.length]),
    n_samples: new Tensor(Int32Array.of(n), [1]),
  };
  const outputs = await model.run(inputs);
  const answer = {};
  for (const [name, tensor] of Object.entries(outputs)) answer[name] = tensor.toTypedArray().slice();
  for (const tensor of [...Object.values(inputs), ...Object.values(outputs)]) tensor.delete();  // nobody else does
  return answer;
}

// Mixes the channels of a file to mono, then asks about it.
function predict({ channels, rate }) {
  const mean = channels[0].map((_, i) => channels.reduce((total, channel) => total + channel[i], 0) / channels.length);
  return recognizer.predict(recognizer.resample(mean, rate));
}

async function embed({ chunks, rate }) {
  return recognizer.embed(recognizer.resample(floats(chunks), rate));
}

function floats(chunks) {
  const y = new Float32Array(chunks.reduce((total, chunk) => total + chunk.length, 0));
  let filled = 0;
  for (const chunk of chunks) {
    chunk.forEach((sample, i) => { y[filled + i] = sample / 32768; });
    filled += chunk.length;
  }
  return y;
}

function know(clips) {
  recognizer.know(clips);
}

function listen({ rate }) {
  const { threshold, lead } = recognizer.settings;
  stream = { rate, steady: new Steady(threshold, lead), sound: new Float32Array(0), fresh: 0 };
}

// Decides every quarter of a second; what comes while it is busy is decided together.
async function hear(chunk) {
  const mine = stream, { every, shortest, window } = recognizer.settings;
  const sound = floats([chunk]), old = mine.sound.subarray(-Math.round(window * mine.rate) + sound.length);
  mine.sound = new Float32Array(old.length + sound.length);
  mine.sound.set(old);
  mine.sound.set(sound, old.length);
  mine.fresh += sound.length;
  if (mine.busy || mine.fresh < every * mine.rate || mine.sound.length < shortest * mine.rate) return;
  mine.fresh = 0;
  mine.busy = true;
  try {
    const answer = await recognizer.decide(recognizer.resample(mine.sound, mine.rate), mine.steady);
    if (mine === stream) postMessage({ answer });
  } finally {
    mine.busy = false;
  }
}

const jobs = { load, predict, embed, know, listen, hear };
onmessage = async ({ data: { id, job, argument } }) => {
  try {
    postMessage({ id, value: await jobs[job](argument) });
  } catch ({ message }) {
    postMessage({ id, error: message });
  }
};
