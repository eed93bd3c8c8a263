// Teaches the server a voice: records sentences, sends them, and keeps the token to ask with.
"use strict";

const SENTENCES = {
  angry: "Give that back. It is mine, and you know it!",
  disgust: "There is mould on this bread. Take it away.",
  fear: "Did you hear that? Somebody is at the door.",
  happy: "We got the flat! I can hardly believe it.",
  neutral: "The train to the coast leaves at ten past four.",
  ps: "Oh! You all came, and I knew nothing about it!",
  sad: "The house is empty now. I miss her every day.",
  calm: "Sit down for a while. There is plenty of time.",
  surprise: "What? You are here already?",
  bored: "Another hour of this. And then another one.",
};
const ANY = "The keys are on the table, next to the lamp.";

let voice = "";  // the token; empty if the server knows no voice of ours
let takes = [];  // {emotion, clip}: recordings that the server accepted
let recording;  // {emotion, level, seconds, stop} from the press of a button to the server's answer

const say = (sentence) => { element("taught").textContent = sentence; };
const count = (emotion) => takes.filter((take) => take.emotion === emotion).length;

function wav(chunks, rate) {
  const [RIFF, WAVE, FMT, DATA] = [0x46464952, 0x45564157, 0x20746d66, 0x61746164];
  const size = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const pcmMono = 0x10001, sixteenBit = 0x100002;
  const header = [RIFF, 36 + size, WAVE, FMT, 16, pcmMono, rate, 2 * rate, sixteenBit, DATA, size];
  return new Blob([new Uint32Array(header), ...chunks], { type: "audio/wav" });
}

function makeRows() {
  element("most").textContent = about.enrol.clips;
  element("sentences").replaceChildren(...about.emotions.map((emotion) => {
    const row = document.createElement("li");
    row.innerHTML = "<strong></strong><q></q><button></button><meter></meter><span></span>";
    const [name, sentence, button, meter] = row.children;
    row.dataset.emotion = emotion;
    name.textContent = spoken(emotion);
    sentence.textContent = SENTENCES[emotion] ?? ANY;
    button.onclick = () => press(emotion);
    meter.setAttribute("aria-label", `Level, ${spoken(emotion)}`);
    return row;
  }));
  showRows();
}

function showRows() {
  const { clips, seconds } = about.enrol;
  for (const row of element("sentences").children) {
    const { emotion } = row.dataset, [, , button, meter, state] = row.children;
    const mine = recording?.emotion === emotion, open = mine && recording.stop;
    const heard = `${count(emotion)} of ${clips}`;
    button.textContent = open ? "Stop" : "Record";
    button.setAttribute("aria-label", `${button.textContent} ${spoken(emotion)}, ${heard}`);
    button.setAttribute("aria-pressed", Boolean(open));
    // `disabled` would take the keyboard focus away from the button that was just pressed.
    button.setAttribute("aria-disabled", !open && (Boolean(recording) || count(emotion) >= clips));
    meter.value = open ? recording.level : 0;
    meter.style.visibility = open ? "visible" : "hidden";
    state.textContent = open ? `${Math.floor(recording.seconds)} of ${seconds} s` : heard;
  }
}

async function press(emotion) {
  if (recording?.emotion === emotion) return recording.stop?.();
  if (recording || count(emotion) >= about.enrol.clips) return;
  const known = takes;
  recording = { emotion, level: 0, seconds: 0 };
  const clip = await record(recording).catch(({ message }) => say(message));
  if (clip && known === takes) await teach(emotion, clip);
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
    if (mine.seconds + chunk.length / rate > about.enrol.seconds) mine.stop();
    showRows();
  });
  showRows();
  await stopped;
  close();
  mine.stop = undefined;
  showRows();
  return wav(chunks, rate);
}

async function teach(emotion, clip) {
  const known = takes, more = [...takes, { emotion, clip }], form = new FormData();
  more.forEach((take) => form.append(take.emotion, take.clip, "clip.wav"));
  const { bytes } = about.enrol;
  if (more.reduce((sum, take) => sum + take.clip.size, 0) > bytes) {
    return say(`All recordings together have over ${bytes / 1e6} MB. This one does not count.`);
  }
  say("Listening to it …");
  const answer = await ask("api/enrol", { method: "POST", body: form });
  if (known !== takes) return release(answer.voice);  // "Forget me" was pressed meanwhile
  if (answer.error) return say(`${answer.error} This recording does not count; try it again.`);
  release(voice);
  takes = more;
  useVoice(answer.voice);
  const heard = about.emotions.filter(count).map((name) => `${spoken(name)} ${count(name)}`);
  const sentences = takes.length > 1 ? `${takes.length} sentences` : "1 sentence";
  say(`It has heard ${sentences} of yours: ${heard.join(", ")}. From now on it answers for your voice.`);
}

function useVoice(token) {
  const changes = token !== voice;
  voice = token;
  if (microphone && changes) connect();
  showRows();
}

// The server does not know this token, or not any more.
function missing(token) {
  if (token !== voice) return;  // a newer one has taken its place
  takes = [];
  useVoice("");
  say("The server does not know your voice any more. It answers for any voice again. Teach it once more.");
}

// `keepalive` lets it go out although the page is being closed.
async function release(token) {
  return token && ask(`api/enrol?voice=${token}`, { method: "DELETE", keepalive: true });
}

async function forget() {
  const token = voice;
  takes = [];
  recording?.stop?.();
  useVoice("");
  say("Your recordings are deleted. It answers for any voice again.");
  const { error, status } = (await release(token)) || {};
  if (error && status !== 404) say(`Your recordings are deleted in this page. ${error}`);
}
