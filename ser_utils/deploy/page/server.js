// The engine with a server behind the page: it sends sound and gets answers.
import { GONE } from "./text.js";

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

async function ask(address, options) {
  try {
    const response = await fetch(address, options);
    return { status: response.status, ...(await response.json()) };
  } catch {
    return { error: GONE };
  }
}

function decoded(picture) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return { ...picture, mel: bytes(picture.mel), level: bytes(picture.level) };
}

function wav(chunks, rate) {
  const [RIFF, WAVE, FMT, DATA] = [0x46464952, 0x45564157, 0x20746d66, 0x61746164];
  const size = sum(chunks.map((chunk) => chunk.byteLength));
  const pcmMono = 0x10001, sixteenBit = 0x100002;
  const header = [RIFF, 36 + size, WAVE, FMT, 16, pcmMono, rate, 2 * rate, sixteenBit, DATA, size];
  return new Blob([new Uint32Array(header), ...chunks], { type: "audio/wav" });
}

export async function openEngine() {
  const about = await ask("api");
  if (about.error) throw new Error(about.error);
  return new Engine(about);
}

class Engine {
  #voice = "";  // the token; empty if the server knows no voice of ours
  #takes = [];  // {emotion, clip}: the recordings behind it
  #reconnect;  // opens the stream anew, while one is open
  lost = () => {};  // called when the server does not know our voice any more

  constructor(about) {
    this.about = about;
    window.addEventListener("pagehide", () => this.forget());
  }

  count(emotion) {
    return this.#takes.filter((take) => take.emotion === emotion).length;
  }

  async predict(file) {
    const asked = this.#voice;
    const answer = await ask(`api/predict?picture=1&voice=${asked}`, { method: "POST", body: file });
    if (answer.status === 404 && asked) {
      this.#missing(asked);
      return this.predict(file);
    }
    if (answer.error) throw new Error(answer.error);
    return { ...answer, picture: decoded(answer.picture) };
  }

  // Calls `hear` with each decision, and `end` with a sentence if the server ends the stream.
  listen(rate, hear, end) {
    let socket;
    this.#reconnect = () => {
      socket?.close();
      const asked = this.#voice, mine = new WebSocket(this.#address(rate, asked));
      socket = mine;
      mine.onmessage = ({ data }) => {
        const answer = JSON.parse(data);
        if (socket === mine) hear({ ...answer, picture: decoded(answer.picture) });
      };
      mine.onclose = ({ code, reason }) => {
        if (socket !== mine) return;  // we closed it ourselves
        if (code === 1008 && asked) return this.#missing(asked);
        end(reason || GONE);
      };
    };
    this.#reconnect();
    return {
      send: ({ buffer }) => {
        if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < 1e6) socket.send(buffer);
      },
      close: () => {
        const open = socket;
        socket = this.#reconnect = undefined;
        open.close();
      },
    };
  }

  #address(rate, voice) {
    const address = new URL(`api/stream?sr=${rate}&voice=${voice}`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    return address;
  }

  // True if the recording counts from now on, false if `forget` came before the answer.
  async teach(emotion, chunks, rate) {
    const known = this.#takes, takes = [...known, { emotion, clip: wav(chunks, rate) }];
    const { bytes } = this.about.enrol;
    if (sum(takes.map(({ clip }) => clip.size)) > bytes) {
      throw new Error(`All recordings together have over ${bytes / 1e6} MB.`);
    }
    const form = new FormData();
    takes.forEach((take) => form.append(take.emotion, take.clip, "clip.wav"));
    const answer = await ask("api/enrol", { method: "POST", body: form });
    if (known !== this.#takes) {
      this.#release(answer.voice);
      return false;
    }
    if (answer.error) throw new Error(answer.error);
    this.#release(this.#voice);
    this.#takes = takes;
    this.#use(answer.voice);
    return true;
  }

  async forget() {
    const token = this.#voice;
    this.#takes = [];
    this.#use("");
    const { error, status } = (await this.#release(token)) || {};
    if (error && status !== 404) throw new Error(error);
  }

  #use(token) {
    const changes = token !== this.#voice;
    this.#voice = token;
    if (changes) this.#reconnect?.();
  }

  // `keepalive` lets it go out although the page is being closed.
  async #release(token) {
    return token && ask(`api/enrol?voice=${token}`, { method: "DELETE", keepalive: true });
  }

  #missing(token) {
    if (token !== this.#voice) return;  // a newer one has taken its place
    this.#takes = [];
    this.#use("");
    this.lost();
  }
}
