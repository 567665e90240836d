// Before and after in one frame: two layers, a seam between them, and videos that run together.

const DRIFT = 0.06; // seconds that the original may be off

export class Compare {
  constructor(root) {
    const part = (name) => root.querySelector(`#${name}`);
    this.root = root;
    this.split = part("split");
    this.images = { painted: part("painted-image"), original: part("original-image") };
    this.videos = { painted: part("painted-video"), original: part("original-video") };
    this.split.addEventListener("input", () => this.#moveSeam());
    this.videos.painted.addEventListener("play", () => this.#alongside((video) => video.play()));
    this.videos.painted.addEventListener("pause", () => this.#alongside((video) => video.pause()));
    this.videos.painted.addEventListener("seeked", () => this.#align(0));
    this.videos.painted.addEventListener("timeupdate", () => this.#align(DRIFT));
    this.#moveSeam();
  }

  ratio(width, height) {
    this.root.closest("figure").style.setProperty("--ratio", String(width / height));
  }

  // `whole` shows the painting alone.
  whole(on) {
    this.root.classList.toggle("whole", on);
  }

  seam(percent) {
    this.split.value = percent;
    this.#moveSeam();
  }

  // Two stills, as blobs, that appear together: a painting alone would pass for the original.
  async showPair(original, painted, signal) {
    const urls = Object.entries({ original, painted }).map(([layer, blob]) => [layer, URL.createObjectURL(blob)]);
    await Promise.all(urls.map(([, url]) => Object.assign(new Image(), { src: url }).decode()));
    if (!signal.aborted) this.clear();
    for (const [layer, url] of urls) {
      if (signal.aborted) URL.revokeObjectURL(url);
      else this.images[layer].src = url;
    }
  }

  clear() {
    for (const image of Object.values(this.images)) {
      if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
      image.removeAttribute("src");
    }
  }

  showStills() {
    this.#stopVideos();
    this.#show("images");
  }

  // Streams of a camera: both run by themselves.
  showStreams(original, painted) {
    this.#stopVideos();
    this.root.classList.add("mirrored");
    for (const [layer, stream] of Object.entries({ original, painted })) {
      const video = this.videos[layer];
      video.srcObject = stream;
      video.muted = true;
      video.play().catch(() => {});
    }
    this.#show("videos");
  }

  // Files: the painted one leads and is heard. `onUnplayable(layer)` is told of a file that the browser cannot show.
  showFiles(original, painted, onUnplayable) {
    this.#stopVideos();
    for (const [layer, url] of Object.entries({ original, painted })) {
      const video = this.videos[layer];
      video.muted = layer === "original";
      video.onerror = () => onUnplayable(layer);
      video.src = url;
      video.load();
    }
    this.#show("videos");
  }

  // A still takes the place of an original that cannot be played.
  stillForOriginal(url) {
    this.videos.original.hidden = true;
    this.images.original.hidden = false;
    this.images.original.src = url;
  }

  #moveSeam() {
    const value = Number(this.split.value);
    this.root.style.setProperty("--split", `${value}%`);
    this.root.classList.toggle("split-left", value < 14);
    this.root.classList.toggle("split-right", value > 86);
    this.split.setAttribute("aria-valuetext", `${value} percent original, ${100 - value} percent painted`);
  }

  #show(kind) {
    for (const layer of ["painted", "original"]) {
      this.images[layer].hidden = kind !== "images";
      this.videos[layer].hidden = kind !== "videos";
    }
  }

  #stopVideos() {
    this.root.classList.remove("mirrored");
    for (const video of Object.values(this.videos)) {
      video.onerror = null;
      video.pause();
      video.srcObject = null;
      video.removeAttribute("src");
      video.load();
    }
  }

  #alongside(act) {
    const { original, painted } = this.videos;
    if (painted.srcObject === null && original.src && !original.error) Promise.resolve(act(original)).catch(() => {});
  }

  #align(tolerance) {
    const { original, painted } = this.videos;
    if (painted.srcObject !== null || original.readyState < 1) return;
    if (Math.abs(original.currentTime - painted.currentTime) > tolerance) original.currentTime = painted.currentTime;
  }
}
