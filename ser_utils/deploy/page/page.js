// The page: asks the server about a file or a microphone, and draws what it says.
"use strict";

const COLOURS = {  // those of ser_utils.plotting; a test compares them
  angry: "#D55E00", disgust: "#009E73", fear: "#CC79A7", happy: "#E69F00", neutral: "#444444",
  ps: "#56B4E9", sad: "#0072B2", calm: "#DDCC77", surprise: "#88CCEE", bored: "#332288",
};
const NOT_SURE = "not sure";
const GONE = "The server does not answer. Is it still running? Start it and try again.";
const MINUTE = 60;  // s
const element = (id) => document.getElementById(id);
const colour = (emotion) => COLOURS[emotion] ?? "#777777";
const spoken = (emotion) => (emotion === "ps" ? "pleasantly surprised" : emotion);
const percent = (share) => `${Math.round(100 * share)} %`;

let about, microphone;  // what the server told of itself; the open microphone, if any
let history = [];  // {start, end (s), emotion, share}

function complain(sentence) {
  element("error").textContent = sentence;
}

async function ask(address, options) {
  try {
    const response = await fetch(address, options);
    return { status: response.status, ...(await response.json()) };
  } catch {
    return { error: GONE };
  }
}

// ---- drawing

function makeBars() {
  element("bars").replaceChildren(...about.emotions.map((emotion) => {
    const row = document.createElement("li");
    row.innerHTML = `<span></span><div class="bar" role="meter" aria-valuemin="0"
      aria-valuemax="100"><div></div></div><span class="share"></span>`;
    const [name, bar] = row.children;
    name.textContent = spoken(emotion);
    bar.setAttribute("aria-label", spoken(emotion));
    bar.firstChild.style.background = colour(emotion);
    bar.style.setProperty("--threshold", percent(about.threshold).replace(" ", ""));
    row.dataset.emotion = emotion;
    return row;
  }));
}

function showAnswer(emotion, probabilities) {
  const status = element("emotion");
  if (status.textContent !== spoken(emotion)) status.textContent = spoken(emotion);
  for (const row of element("bars").children) {
    const share = probabilities[row.dataset.emotion];
    row.children[1].setAttribute("aria-valuenow", Math.round(100 * share));
    row.children[1].firstChild.style.transform = `scaleX(${share})`;
    row.children[2].textContent = percent(share);
  }
}

function showTimeline(from, to) {
  const canvas = element("timeline"), pen = canvas.getContext("2d");
  const x = (time) => (canvas.width * (time - from)) / (to - from);
  const total = {};
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const { start, end, emotion, share } of history) {
    const height = share * canvas.height;
    pen.fillStyle = emotion === NOT_SURE ? "#bbbbbb55" : colour(emotion);
    pen.fillRect(x(start), canvas.height - height, Math.max(1, x(end) - x(start)), height);
    total[emotion] = (total[emotion] ?? 0) + end - start;
  }
  const sum = Object.values(total).reduce((a, b) => a + b, 0);
  const parts = Object.entries(total).sort((a, b) => b[1] - a[1]);
  element("summary").textContent = parts
    .map(([emotion, seconds]) => `${spoken(emotion)} ${percent(seconds / sum)}`).join(", ");
}

function showPicture({ bands, mel, level, seconds, hertz }) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const shades = bytes(mel), peaks = bytes(level), columns = shades.length / bands;
  const picture = element("mel"), image = new ImageData(columns, bands);
  for (let column = 0; column < columns; column++) {
    for (let band = 0; band < bands; band++) {
      const shade = shades[column * bands + band] / 255, pixel = (bands - 1 - band) * columns + column;
      image.data.set([255 * shade ** 0.7, 255 * shade ** 2, 120 * shade ** 0.5 + 60 * shade, 255], 4 * pixel);
    }
  }
  [picture.width, picture.height] = [columns, bands];
  picture.getContext("2d").putImageData(image, 0, 0);
  const wave = element("level"), pen = wave.getContext("2d"), middle = wave.height / 2;
  wave.width = Math.max(300, peaks.length);
  pen.fillStyle = "#5599cc";
  peaks.forEach((peak, i) => {
    const height = Math.max(1, (peak / 255) * wave.height), width = wave.width / peaks.length;
    pen.fillRect(i * width, middle - height / 2, width, height);
  });
  element("heard-end").textContent = `${seconds.toFixed(1)} s`;
  element("heard-top").textContent = `${hertz / 1000} kHz`;
}

// ---- a file

async function askAbout(file) {
  stopListening();
  complain("");
  element("player").hidden = false;
  URL.revokeObjectURL(element("player").src);
  element("player").src = URL.createObjectURL(file);
  if (file.size > about.limits.bytes) {
    return complain(`The file has over ${about.limits.bytes / 1e6} MB; choose a smaller one.`);
  }
  element("emotion").textContent = "…";
  const asked = voice;
  const answer = await ask(`api/predict?picture=1&voice=${asked}`, { method: "POST", body: file });
  if (answer.status === 404 && asked) {
    missing(asked);
    return askAbout(file);
  }
  if (answer.error) return complain(answer.error);
  showAnswer(answer.emotion, answer.probabilities);
  showPicture(answer.picture);
  history = answer.timeline.map((row) => ({
    start: row.start, end: row.end, emotion: row.emotion,
    share: Math.max(...about.emotions.map((emotion) => row[emotion])),
  }));
  element("time-title").textContent = "The file over time";
  element("from").textContent = "0 s";
  element("to").textContent = `${answer.seconds.toFixed(1)} s`;
  showTimeline(0, answer.seconds);
}

// ---- the microphone

// Hands each tenth of a second to a function, as 16-bit samples.
async function openMicrophone(take) {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  } catch {
    throw new Error("No microphone: allow it in the browser and try again.");
  }
  const sound = new AudioContext();
  const close = () => {
    stream.getTracks().forEach((track) => track.stop());
    sound.close();
  };
  try {
    await sound.audioWorklet.addModule("worklet.js");
  } catch {
    close();
    throw new Error(GONE);
  }
  const recorder = new AudioWorkletNode(sound, "recorder");
  recorder.port.onmessage = ({ data }) => take(data);
  sound.createMediaStreamSource(stream).connect(recorder);
  return { rate: sound.sampleRate, close };
}

async function startListening() {
  complain("");
  const send = ({ buffer }) => {
    const { socket } = mine;
    if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < 1e6) socket.send(buffer);
  };
  let mine;
  try {
    mine = await openMicrophone(send);
  } catch (error) {
    return complain(error.message);
  }
  microphone = mine;
  microphone.began = performance.now();
  connect();
  history = [];
  element("time-title").textContent = "The past minute";
  element("from").textContent = `${MINUTE} s ago`;
  element("to").textContent = "now";
  element("player").hidden = true;
  element("microphone").setAttribute("aria-pressed", "true");
  element("microphone").textContent = "Stop the microphone";
}

// Opens the stream, and again when the voice changes.
function connect() {
  const asked = voice, { rate, began } = microphone;
  const address = new URL(`api/stream?sr=${rate}&voice=${asked}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  microphone.socket?.close();
  microphone.socket = socket;
  socket.onmessage = ({ data }) => {
    if (microphone?.socket === socket) hear(JSON.parse(data), (performance.now() - began) / 1000);
  };
  socket.onclose = ({ code, reason }) => {
    if (microphone?.socket !== socket) return;  // we closed it ourselves
    if (code === 1008 && asked) return missing(asked);
    stopListening();
    complain(reason || GONE);
  };
}

function hear({ emotion, probabilities, picture }, now) {
  showAnswer(emotion, probabilities);
  showPicture(picture);
  const start = history.at(-1)?.end ?? now - 0.25;
  history.push({ start, end: now, emotion, share: probabilities[emotion] ?? Math.max(...Object.values(probabilities)) });
  history = history.filter(({ end }) => end > now - MINUTE);
  showTimeline(now - MINUTE, now);
}

function stopListening() {
  if (!microphone) return;
  const { socket, close } = microphone;
  microphone = undefined;
  close();
  socket.close();
  element("microphone").setAttribute("aria-pressed", "false");
  element("microphone").textContent = "Start the microphone";
}

// ---- the start

async function makeExample(emotion) {
  complain("");
  try {
    const response = await fetch(`examples/${emotion}.wav`);
    await askAbout(await response.blob());
  } catch {
    complain(GONE);
  }
}

function describe() {
  const { corpora, protocol, figures, licence } = about.about;
  const scores = Object.entries(figures).map(([name, value]) => `${name} ${value}`).join(", ");
  const rows = { "Trained with": corpora.join(", "), Protocol: protocol, Figures: scores, Licence: licence };
  element("about").replaceChildren(...Object.entries(rows).flatMap(([name, text]) => {
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, description.textContent] = [name, text];
    return [term, description];
  }));
  element("threshold").textContent =
    `Dotted line: a new name needs ${percent(about.threshold)}. With the microphone, a name stays until another one clearly leads or its own share falls far below.`;
  const { bytes, seconds } = about.limits;
  element("limits").textContent += ` At most ${bytes / 1e6} MB and ${seconds / 60} minutes.`;
  if (!about.synthetic) {
    element("synthetic").textContent += " This model learned from people and may misjudge synthetic voices.";
  }
  element("card").hidden = !about.card;
  element("examples").replaceChildren(...about.examples.map((emotion) => {
    const button = document.createElement("button");
    button.textContent = spoken(emotion);
    button.onclick = () => makeExample(emotion);
    return button;
  }));
}

async function begin() {
  try {
    about = await (await fetch("api")).json();
  } catch {
    return complain(GONE);
  }
  makeBars();
  makeRows();
  describe();
  element("microphone").onclick = () => (microphone ? stopListening() : startListening());
  element("file").onchange = ({ target }) => {
    if (target.files[0]) askAbout(target.files[0]);
    target.value = "";
  };
  element("forget").onclick = forget;
  window.onpagehide = forget;
  const place = element("drop");
  document.ondragover = (event) => { event.preventDefault(); place.classList.add("over"); };
  document.ondragleave = () => place.classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (event.dataTransfer.files[0]) askAbout(event.dataTransfer.files[0]);
  };
  document.documentElement.dataset.ready = "yes";
}

begin();
