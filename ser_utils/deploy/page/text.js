// The words of the page.
export const NOT_SURE = "not sure";
export const DEVICE = document.documentElement.dataset.engine === "device";
export const GONE = DEVICE
  ? "A file of this page is missing. Connect to the network and load the page again."
  : "The server does not answer. Is it still running? Start it and try again.";

const SENTENCES = {  // to record when a voice is taught
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
export const sentence = (emotion) => SENTENCES[emotion] ?? "The keys are on the table, next to the lamp.";
export const spoken = (emotion) => (emotion === "ps" ? "pleasantly surprised" : emotion);
export const percent = (share) => `${Math.round(100 * share)} %`;
export const element = (id) => document.getElementById(id);
