// Collects what the microphone hears, mixes it to mono and hands on a tenth of a second at a time.
class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(Math.round(sampleRate / 10));
    this.filled = 0;
  }

  process([channels]) {
    for (let i = 0; i < (channels[0]?.length ?? 0); i++) {
      const mean = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
      this.samples[this.filled++] = 32767 * Math.max(-1, Math.min(1, mean));
      if (this.filled === this.samples.length) {
        this.port.postMessage(this.samples.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
