// The microphone, as 16-bit samples. An audio worklet: nothing else hands on samples without a gap.
import { GONE } from "./text.js";

// Hands each tenth of a second to `take`, and calls `end` with a sentence if the microphone goes away.
export async function openMicrophone(take, end) {
  if (!window.isSecureContext) {
    throw new Error("A browser gives the microphone only to pages that come by HTTPS or from this device. Open this page by HTTPS.");
  }
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  } catch {
    throw new Error("No microphone: allow it in the browser and try again.");
  }
  let sound;
  const close = () => {
    stream.getTracks().forEach((track) => track.stop());
    sound?.close();
  };
  try {
    sound = new AudioContext();
    await sound.audioWorklet.addModule("worklet.js");
    const recorder = new AudioWorkletNode(sound, "recorder");
    recorder.port.onmessage = ({ data }) => take(data);
    sound.createMediaStreamSource(stream).connect(recorder);
  } catch {
    close();
    throw new Error(GONE);
  }
  sound.onstatechange = () => sound.state === "interrupted" && sound.resume();  // after a call, on iOS
  stream.getAudioTracks()[0].onended = () => end("The microphone is gone. Connect it and start again.");
  return { rate: sound.sampleRate, close };
}
