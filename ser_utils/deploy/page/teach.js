// Teaches a voice: records sentences and hands them to the engine.
import { openMicrophone } from "./microphone.js";
import { element, sentence, spoken } from "./text.js";

let engine;
let recording;  // {emotion, level, seconds, stop} from the press of a button to the engine's answer

const say = (text) => { element("taught").textContent = text; };

export function makeRows(chosen) {
  engine = chosen;
  element("most").textContent = engine.about.enrol.clips;
  element("sentences").replaceChildren(...engine.about.emotions.map((emotion) => {
    const row = document.createElement("li");
    row.innerHTML = "<strong></strong><q></q><button></button><meter></meter><span></span>";
    const [name, text, button, meter] = row.children;
    row.dataset.emotion = emotion;
    name.textContent = spoken(emotion);
    text.textContent = sentence(emotion);
    button.onclick = () => press(emotion);
    meter.setAttribute("aria-label", `Level, ${spoken(emotion)}`);
    return row;
  }));
  engine.lost = () => {
    showRows();
    say("The server does not know your voice any more. It answers for any voice again. Please teach it again.");
  };
  element("forget").onclick = forget;
  showRows();
  if (engine.about.emotions.some((emotion) => engine.count(emotion))) sayWhatIsKnown();
}

function showRows() {
  const { clips, seconds } = engine.about.enrol;
  for (const row of element("sentences").children) {
    const { emotion } = row.dataset, [, , button, meter, state] = row.children;
    const mine = recording?.emotion === emotion, open = mine && recording.stop;
    const heard = `${engine.count(emotion)} of ${clips}`;
    button.textContent = open ? "Stop" : "Record";
    button.setAttribute("aria-label", `${button.textContent} ${spoken(emotion)}, ${heard}`);
    button.classList.toggle("on", Boolean(open));
    // `disabled` would take the keyboard focus away from the button that was just pressed.
    button.setAttribute("aria-disabled", !open && (Boolean(recording) || engine.count(emotion) >= clips));
    meter.value = open ? recording.level : 0;
    meter.style.visibility = open ? "visible" : "hidden";
    state.textContent = open ? `${Math.floor(recording.seconds)} of ${seconds} s` : heard;
  }
}

async function press(emotion) {
  if (recording?.emotion === emotion) return recording.stop?.();
  if (recording || engine.count(emotion) >= engine.about.enrol.clips) return;
  const mine = { emotion, level: 0, seconds: 0 };
  recording = mine;
  try {
    await record(mine);
  } catch ({ message }) {
    say(message);
  }
  recording = undefined;
  showRows();
}

async function record(mine) {
  const chunks = [], stopped = new Promise((resolve) => { mine.stop = resolve; });
  say(`Recording ${spoken(mine.emotion)}: say the sentence.`);
  const { rate, close } = await openMicrophone((chunk) => {
    chunks.push(chunk);
    mine.seconds = (chunks.length * chunk.length) / rate;
    mine.level = Math.sqrt(Math.max(...chunk.map(Math.abs)) / 32768);
    if (mine.seconds + chunk.length / rate > engine.about.enrol.seconds) mine.stop();
    showRows();
  }, mine.stop);
  showRows();
  await stopped;
  close();
  mine.stop = undefined;
  showRows();
  if (mine.dropped) return;
  say("Listening to it …");
  try {
    if (await engine.teach(mine.emotion, chunks, rate) && !mine.dropped) sayWhatIsKnown();
  } catch ({ message }) {
    say(`${message} This recording does not count. Please try again.`);
  }
}

function sayWhatIsKnown() {
  const counts = engine.about.emotions.map((emotion) => [spoken(emotion), engine.count(emotion)]);
  const all = counts.reduce((total, [, count]) => total + count, 0);
  const heard = counts.filter(([, count]) => count).map((pair) => pair.join(" ")).join(", ");
  const sentences = all > 1 ? `${all} sentences` : "1 sentence";
  say(`It has heard ${sentences} of yours: ${heard}. From now on it answers for your voice.`);
}

async function forget() {
  if (recording) recording.dropped = true;
  recording?.stop?.();
  const done = engine.forget();
  showRows();
  say("What it learned from your voice is deleted. It answers for any voice again.");
  try {
    await done;
  } catch ({ message }) {
    say(`It is deleted in this page. ${message}`);
  }
}
