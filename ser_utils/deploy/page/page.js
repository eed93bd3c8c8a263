// The page: connects the buttons, the engine and the drawing.
import { makeBars, showAnswer, showPicture, showTimeline } from "./draw.js";
import { openMicrophone } from "./microphone.js";
import { makeRows } from "./teach.js";
import { GONE, element, percent, spoken } from "./text.js";

const MINUTE = 60;  // s

let engine, microphone;  // who answers; the open microphone and its stream, if any
let history = [];  // {start, end (s), emotion, share}
let turn = 0;  // grows with all that is asked for, so that a late answer does not take a newer one's place

function complain(text) {
  element("error").textContent = text;
}

// ---- a file

async function askAbout(file) {
  const { bytes } = engine.about.limits;
  stopListening();
  const mine = turn;
  complain("");
  element("player").hidden = false;
  URL.revokeObjectURL(element("player").src);
  element("player").src = URL.createObjectURL(file);
  if (file.size > bytes) return complain(`The file has over ${bytes / 1e6} MB; choose a smaller one.`);
  element("emotion").textContent = "…";
  element("share").textContent = "";
  try {
    const answer = await engine.predict(file);
    if (mine === turn) showFile(answer);
  } catch ({ message }) {
    if (mine === turn) complain(message);
  }
}

function showFile({ emotion, probabilities, picture, timeline, seconds }) {
  showAnswer(emotion, probabilities);
  showPicture(picture);
  history = timeline.map((row) => ({
    start: row.start, end: row.end, emotion: row.emotion,
    share: Math.max(...engine.about.emotions.map((emotion) => row[emotion])),
  }));
  element("time-title").textContent = "The file over time";
  element("from").textContent = "0 s";
  element("to").textContent = `${seconds.toFixed(1)} s`;
  showTimeline(history, 0, seconds);
}

async function askAboutExample(emotion) {
  stopListening();
  const mine = turn;
  const response = await fetch(`examples/${emotion}.wav`).catch(() => ({ ok: false }));
  if (mine !== turn) return;
  if (response.ok) askAbout(await response.blob()); else complain(GONE);
}

// ---- the microphone

async function startListening() {
  stopListening();
  const asked = turn, end = (text) => { stopListening(); complain(text); };
  complain("");
  let mine;
  try {
    mine = await openMicrophone((chunk) => mine?.stream?.send(chunk), end);
  } catch ({ message }) {
    if (asked === turn) complain(message);
    return;
  }
  if (asked !== turn) return mine.close();
  microphone = mine;
  history = [];
  const began = performance.now();
  mine.stream = engine.listen(mine.rate, (answer) => hear(answer, (performance.now() - began) / 1000), end);
  element("time-title").textContent = "The past minute";
  element("from").textContent = `${MINUTE} s ago`;
  element("to").textContent = "now";
  element("player").hidden = true;
  element("microphone").classList.add("on");
  element("microphone").textContent = "Stop the microphone";
}

function hear({ emotion, probabilities, picture }, now) {
  showAnswer(emotion, probabilities);
  showPicture(picture);
  const start = history.at(-1)?.end ?? now - 0.25;
  history.push({ start, end: now, emotion, share: probabilities[emotion] ?? Math.max(...Object.values(probabilities)) });
  history = history.filter(({ end }) => end > now - MINUTE);
  showTimeline(history, now - MINUTE, now);
}

function stopListening() {
  turn += 1;
  if (!microphone) return;
  const { stream, close } = microphone;
  microphone = undefined;
  close();
  stream.close();
  element("microphone").classList.remove("on");
  element("microphone").textContent = "Start the microphone";
}

// ---- the start

function describe({ about, card, examples, limits, synthetic, threshold }) {
  const scores = Object.entries(about.figures).map(([name, value]) => `${name} ${value}`).join(", ");
  const rows = { "Trained with": about.corpora.join(", "), Protocol: about.protocol, Figures: scores, Licence: about.licence };
  element("about").replaceChildren(...Object.entries(rows).flatMap(([name, text]) => {
    const [term, description] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, description.textContent] = [name, text];
    return [term, description];
  }));
  element("threshold").textContent =
    `Dotted line: a new name needs ${percent(threshold)}. With the microphone, a name stays until another one clearly leads or its own share falls far below.`;
  element("limits").textContent += ` At most ${limits.bytes / 1e6} MB and ${limits.seconds / 60} minutes.`;
  if (!synthetic) {
    element("synthetic").textContent += " This model learned from people and may misjudge synthetic voices.";
  }
  element("card").innerHTML = card ?? "";
  element("open-card").hidden = !card;
  element("examples").replaceChildren(...examples.map((emotion) => {
    const button = document.createElement("button");
    button.textContent = spoken(emotion);
    button.onclick = () => askAboutExample(emotion);
    return button;
  }));
}

function connectButtons() {
  for (const name of ["microphone", "file", "forget"]) element(name).disabled = false;
  element("microphone").onclick = () => (microphone ? stopListening() : startListening());
  element("file").onchange = ({ target }) => {
    if (target.files[0]) askAbout(target.files[0]);
    target.value = "";
  };
  element("open-card").onclick = () => element("sheet").showModal();
  element("close-card").onclick = () => element("sheet").close();
}

function takeDrops() {
  const place = element("drop");
  document.ondragover = (event) => { event.preventDefault(); place.classList.add("over"); };
  document.ondragleave = () => place.classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();  // the browser would leave the page and play the file
    place.classList.remove("over");
    if (engine && event.dataTransfer.files[0]) askAbout(event.dataTransfer.files[0]);
  };
}

function showLoading(share) {
  element("progress").value = share;
  element("loaded").textContent = percent(share);
}

async function begin() {
  takeDrops();
  try {
    const { openEngine } = await import(`./${document.documentElement.dataset.engine}.js`);
    engine = await openEngine(showLoading);
  } catch ({ message }) {
    return complain(message);
  } finally {
    element("loading").remove();
  }
  engine.newer = (takeOver) => {
    element("newer").hidden = false;
    element("take-over").onclick = takeOver;
  };
  engine.kept?.then((kept) => { element("kept").textContent = kept ? "It works without a network, too." : ""; });
  makeBars(engine.about);
  makeRows(engine);
  describe(engine.about);
  connectButtons();
  document.documentElement.dataset.ready = "yes";
}

begin();
