// The recorder: records a sentence, plays it back, and sends it to Python if it is kept.

const LONGEST = 10;  // s
const PLAIN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const UNUSABLE = {
  insecure: "This page is not allowed to use the microphone. Open JupyterLab on http://localhost or over https.",
  NotAllowedError: "The microphone is blocked. Allow it for this page in the browser, then record.",
  NotFoundError: "No microphone was found. Connect one, then record.",
  NotReadableError: "The microphone is in use. Close the other program that uses it, then record.",
};

const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

// What the browser recorded, in whatever format, as 16-bit samples of one channel.
async function decode(recording) {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await recording.arrayBuffer());
    const channels = Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i));
    const samples = Int16Array.from({ length: sound.length }, (_, n) => {
      const mean = channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length;
      return Math.round(32767 * Math.max(-1, Math.min(1, mean)));
    });
    return { samples, rate: sound.sampleRate };
  } finally {
    context.close();
  }
}

// A WAV file, so that the player gets exactly what would be kept.
function wav({ samples, rate }) {
  const [RIFF, WAVE, FMT, DATA] = [0x46464952, 0x45564157, 0x20746d66, 0x61746164];
  const size = samples.byteLength, pcmMono = 0x10001, sixteenBit = 0x100002;
  const header = [RIFF, 36 + size, WAVE, FMT, 16, pcmMono, rate, 2 * rate, sixteenBit, DATA, size];
  return new Blob([new Uint32Array(header), samples], { type: "audio/wav" });
}

function render({ model, el }) {
  const { emotions, place } = model.get("shown");
  const group = `ser-${Math.random()}`;
  const radio = (value, i) => make("input", { type: "radio", name: group, value, checked: i === 0, onchange: () => name() });
  const choices = make("fieldset", { className: "ser-row" }, make("legend", { textContent: "Emotion" }),
    ...emotions.map((emotion, i) => make("label", {}, radio(emotion, i), emotion)));
  const main = make("button", { className: "ser-main", onclick: () => (recorder ? stop() : start()) });
  const meter = make("meter", { max: 1, high: 0.98, ariaLabel: "Level" });
  const timer = make("span", { className: "ser-timer" });
  const status = make("p", { className: "ser-status" });
  const trouble = make("p", { className: "ser-error" });
  const player = make("audio", { controls: true });
  const keep = make("button", { className: "ser-main", onclick: () => send() });
  const discard = make("button", { textContent: "Discard", onclick: () => drop("Discarded.") });
  const decide = make("div", { className: "ser-row" }, player, keep, discard);
  const counts = make("p", { className: "ser-hint" });
  const kept = make("ul");
  const about = make("p", { className: "ser-hint", textContent: `Your recordings stay on this machine. Clips that you keep are saved in ${place}.` });
  const root = make("div", { className: "ser-widget" }, choices,
    make("div", { className: "ser-row" }, main, meter, timer), status, trouble, decide, counts, kept, about);
  let recorder, take;  // set while recording; recorded, not yet kept or discarded

  status.setAttribute("aria-live", "polite");
  trouble.setAttribute("role", "alert");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Recorder");

  const emotion = () => choices.querySelector("input:checked").value;
  const name = () => { keep.textContent = `Keep as ${emotion()}`; };

  function complain(kind) {
    const why = UNUSABLE[kind] ?? `The microphone cannot be used (${kind}). Try another browser.`;
    trouble.textContent = `${why} You can also record with a phone and put the files into ${place}/${emotions[0]} and so on.`;
  }

  function drop(sentence) {
    URL.revokeObjectURL(player.src);
    player.removeAttribute("src");
    take = undefined;
    decide.hidden = true;
    status.textContent = sentence;
    main.focus();
  }

  async function start() {
    drop("");
    trouble.textContent = "";
    main.disabled = true;  // until the browser has asked for permission
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: PLAIN });
      if (root.isConnected) record(stream);
      else stream.getTracks().forEach((track) => track.stop());
    } catch (error) {
      complain(error.name);
    }
    main.disabled = false;
    main.focus();
  }

  function record(stream) {
    const context = new AudioContext(), analyser = context.createAnalyser(), chunks = [];
    const wave = new Float32Array(analyser.fftSize), began = performance.now();
    context.createMediaStreamSource(stream).connect(analyser);
    const clock = setInterval(() => {
      const seconds = (performance.now() - began) / 1000;
      analyser.getFloatTimeDomainData(wave);
      meter.value = Math.max(...wave.map(Math.abs));
      timer.textContent = `${seconds.toFixed(1)} of ${LONGEST} s`;
      if (seconds >= LONGEST) stop();
    }, 100);
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = ({ data }) => chunks.push(data);
    recorder.onstop = () => {  // Stop was pressed, the time is up, or the microphone was unplugged
      recorder = undefined;
      main.textContent = "Record";
      clearInterval(clock);
      stream.getTracks().forEach((track) => track.stop());
      context.close();
      meter.value = 0;
      timer.textContent = "";
      offer(new Blob(chunks, { type: chunks[0]?.type }));
    };
    recorder.start();
    main.textContent = "Stop";
    status.textContent = "Recording: say one sentence.";
  }

  function stop() {
    if (recorder?.state === "recording") recorder.stop();
  }

  async function offer(recording) {
    try {
      take = await decode(recording);
    } catch {
      trouble.textContent = "The browser cannot read its own recording. Record again or try another browser.";
      return;
    }
    player.src = URL.createObjectURL(wav(take));
    decide.hidden = keep.disabled = false;
    status.textContent = `Recorded ${(take.samples.length / take.rate).toFixed(1)} s. Listen, then keep or discard it.`;
  }

  function send() {
    keep.disabled = true;
    status.textContent = "Saving…";
    model.send({ emotion: emotion(), rate: take.rate }, undefined, [take.samples.buffer]);
  }

  function draw() {
    const shown = model.get("shown");
    const list = shown.emotions.map((emotion, i) => `${emotion} ${shown.counts[i]}`);
    counts.textContent = `Clips in ${place}: ${list.join(", ")}.`;
    kept.replaceChildren(...shown.kept.map((row) => make("li", { textContent: row.join(", ") })));
    trouble.textContent = shown.error;
    if (!keep.disabled) return;  // another view sent it
    keep.disabled = false;
    if (shown.error) status.textContent = "";
    else drop(`Kept as ${shown.kept.at(-1)[0]}.`);
  }

  main.textContent = "Record";
  decide.hidden = true;
  name();
  draw();
  if (!navigator.mediaDevices) {
    main.disabled = true;
    complain("insecure");
  } else {
    status.textContent = `Choose an emotion, press Record, and say one sentence of at most ${LONGEST} s.`;
  }
  for (const node of root.querySelectorAll("button, input, audio")) {
    node.dataset.lmSuppressShortcuts = "true";  // keys pressed here must not trigger Jupyter's shortcuts
  }
  model.on("change:shown", draw);
  el.append(root);
  return stop;
}

export default { render };
