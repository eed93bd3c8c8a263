// Draws what the model says and heard. Canvas and plain elements: a library of charts weighs more than the page.
import { NOT_SURE, element, percent, spoken } from "./text.js";

const COLOURS = {  // those of ser_utils.plotting; a test compares them
  angry: "#D55E00", disgust: "#009E73", fear: "#CC79A7", happy: "#E69F00", neutral: "#444444",
  ps: "#56B4E9", sad: "#0072B2", calm: "#DDCC77", surprise: "#88CCEE", bored: "#332288",
};
const colour = (emotion) => COLOURS[emotion] ?? "#777777";

export function makeBars({ emotions, threshold }) {
  element("bars").replaceChildren(...emotions.map((emotion) => {
    const row = document.createElement("li");
    row.innerHTML = `<span></span><div class="bar" role="meter" aria-valuemin="0"
      aria-valuemax="100"><div></div></div><span class="share"></span>`;
    const [name, bar] = row.children;
    name.textContent = spoken(emotion);
    bar.setAttribute("aria-label", spoken(emotion));
    bar.firstChild.style.background = colour(emotion);
    bar.style.setProperty("--threshold", percent(threshold).replace(" ", ""));
    row.dataset.emotion = emotion;
    return row;
  }));
}

export function showAnswer(emotion, probabilities) {
  const name = element("emotion");  // a screen reader tells every change of it, so no number inside
  if (name.textContent !== spoken(emotion)) name.textContent = spoken(emotion);
  element("share").textContent = emotion === NOT_SURE ? "" : percent(probabilities[emotion]);
  for (const row of element("bars").children) {
    const share = probabilities[row.dataset.emotion];
    row.children[1].setAttribute("aria-valuenow", Math.round(100 * share));
    row.children[1].firstChild.style.transform = `scaleX(${share})`;
    row.children[2].textContent = percent(share);
  }
}

// Each row of `history` is {start, end (s), emotion, share}.
export function showTimeline(history, from, to) {
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

// `mel` has a byte for each column and band, `level` one for each column.
export function showPicture({ bands, mel, level, seconds, hertz }) {
  const columns = mel.length / bands;
  const picture = element("mel"), image = new ImageData(columns, bands);
  for (let column = 0; column < columns; column++) {
    for (let band = 0; band < bands; band++) {
      const shade = mel[column * bands + band] / 255, pixel = (bands - 1 - band) * columns + column;
      image.data.set([255 * shade ** 0.7, 255 * shade ** 2, 120 * shade ** 0.5 + 60 * shade, 255], 4 * pixel);
    }
  }
  [picture.width, picture.height] = [columns, bands];
  picture.getContext("2d").putImageData(image, 0, 0);
  const wave = element("level"), pen = wave.getContext("2d"), middle = wave.height / 2;
  wave.width = Math.max(300, level.length);
  pen.fillStyle = "#5599cc";
  level.forEach((peak, i) => {
    const height = Math.max(1, (peak / 255) * wave.height), width = wave.width / level.length;
    pen.fillRect(i * width, middle - height / 2, width, height);
  });
  element("heard-end").textContent = `${seconds.toFixed(1)} s`;
  element("heard-top").textContent = `${hertz / 1000} kHz`;
}
