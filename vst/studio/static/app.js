// The page: one mode at a time, and the look that all of them share.

import * as api from "/api.js";
import { Compare } from "/compare.js";
import { Live, openCamera } from "/live.js";

const $ = (id) => document.getElementById(id);
const PREVIEW_DELAY = 140;
const VISIBLE = {
  loading: [],
  welcome: ["welcome"],
  uploading: ["progress"],
  preview: ["picture", "transport", "source", "render"],
  rendering: ["picture", "transport", "source", "progress"],
  done: ["picture", "transport", "play", "source", "download"],
  connecting: ["progress"],
  live: ["picture", "stop"],
};
const NEXT = { welcome: "choose", uploading: "cancel", preview: "render", rendering: "cancel", done: "play", connecting: "cancel", live: "stop" };
const SWITCHED = ["welcome", "picture", "transport", "play", "progress", "source", "render", "download", "stop", "back"];

const compare = new Compare($("canvas"));
const state = { mode: "loading", studio: null, film: null, render: null, live: null, cancel: null, retry: null };

// ---------------------------------------------------------------------------------------------------------- modes

function enter(mode) {
  const first = state.mode === "loading";
  state.mode = mode;
  document.body.dataset.mode = mode;
  for (const id of SWITCHED) $(id).hidden = !VISIBLE[mode].includes(id);
  $("back").hidden = !(mode === "preview" && state.render?.state === "done");
  $("stage").classList.toggle("rendering", mode === "rendering");
  $("working").hidden = true;
  // A film that is being rendered keeps the look that it began with.
  for (const part of document.querySelectorAll("fieldset")) part.disabled = mode === "rendering";
  // Who uses the keyboard goes on from the next step, not from the top, where the button of the last one has gone.
  if (!first && (document.activeElement === document.body || !document.activeElement.checkVisibility())) {
    $(NEXT[mode])?.focus({ preventScroll: true });
  }
}

function say(text) {
  $("status").textContent = text;
}

function complain(problem, retry = null) {
  if (problem.name === "AbortError") return;
  $("notice-text").textContent = problem.message;
  $("retry").hidden = retry === null;
  state.retry = retry;
  $("notice").hidden = false;
}

function hush() {
  $("notice").hidden = true;
  state.retry = null;
}

function progress(title, share, detail, cancel) {
  $("progress-title").textContent = title;
  const bar = $("progress-bar");
  if (share === null) bar.removeAttribute("value");
  else bar.value = share * 100;
  $("progress-detail").textContent = detail;
  state.cancel = cancel;
  $("cancel").hidden = cancel === null;
}

// ----------------------------------------------------------------------------------------------------------- look

function look() {
  const share = (id) => Number($(id).value) / 100;
  const style = document.querySelector("input[name=style]:checked")?.value ?? "";
  return { style, strength: share("strength"), calm: share("calm"), preserve_color: share("colour") };
}

function fill(slider) {
  const { min, max, value } = slider;
  slider.style.setProperty("--fill", `${((value - min) / Math.max(max - min, 1e-9)) * 100}%`);
}

function lookChanged() {
  for (const id of ["strength", "calm", "colour"]) {
    $(`${id}-value`).textContent = `${$(id).value} %`;
    fill($(id));
  }
  if (state.mode === "live") state.live.send(look());
  if (state.mode === "done") showPreview(compare.videos.painted.currentTime);
  else if (state.mode === "preview") schedulePreview();
}

function showStyles(styles) {
  styles.forEach((style, number) => {
    const card = document.createElement("label");
    card.className = "card";
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "style", value: style.name, checked: number === 0 });
    const frame = Object.assign(document.createElement("span"), { className: "card-picture" });
    frame.append(Object.assign(document.createElement("img"), { src: style.picture, alt: "", width: 360, height: 270 }));
    card.append(input, frame, Object.assign(document.createElement("span"), { className: "card-name", textContent: style.title }));
    input.addEventListener("change", () => {
      card.scrollIntoView({ block: "nearest", inline: "center" });
      lookChanged();
    });
    $("styles").append(card);
  });
}

function titleOfStyle() {
  return document.querySelector("input[name=style]:checked")?.closest("label").textContent ?? "";
}

// --------------------------------------------------------------------------------------------------------- upload

async function take(file) {
  hush();
  await leave();
  const { limits } = state.studio;
  if (file.size > limits.upload_mb * 1024 * 1024) {
    return complain(new api.Problem(`This video has ${megabytes(file.size)}; the limit here is ${limits.upload_mb} MB.`));
  }
  const cancelling = new AbortController();
  enter("uploading");
  const show = (share) => progress(
    share < 1 ? `Sending, ${Math.floor(share * 100)} %` : "Looking at the film",
    share < 1 ? share : null, `${file.name}, ${megabytes(file.size)}`, () => cancelling.abort(),
  );
  show(0);
  try {
    const film = await api.upload(file, show, cancelling.signal);
    hold(film);
    say(`${film.name} has arrived`);
    showPreview(Math.min(1, (film.seconds ?? 0) / 3));
  } catch (problem) {
    enter("welcome");
    complain(problem, problem.busy ? () => take(file) : null);
  }
}

function hold(film) {
  state.film = film;
  $("source-name").textContent = film.name;
  compare.ratio(film.width, film.height);
  $("moment").max = Math.max((film.seconds ?? 0) - 1 / film.fps, 0.01);
  $("moment").step = 1 / Math.max(film.fps, 1);
  compare.seam(50);
  remember();
}

// What a reload of the page finds again.
function remember() {
  const { film, render, renderTitle } = state;
  sessionStorage.setItem("film", JSON.stringify(film && { film, render: render?.id, renderTitle }));
}

async function recall() {
  const kept = JSON.parse(sessionStorage.getItem("film"));
  if (!kept) return false;
  try {
    await api.originalStill(kept.film.id, 0);
    const status = kept.render && await api.renderStatus(kept.render).catch(() => null);
    hold(kept.film);
    if (status) follow(status, kept.renderTitle);
    else showPreview(0);
    return true;
  } catch {
    return false;
  }
}

async function leave() {
  cancelPreview();
  state.stopFollowing?.();
  state.live?.close();
  compare.showStills();
  // The studio removes what it has rendered of the film with it; asked for both at once, one request may come too late.
  if (state.film) api.removeUpload(state.film.id);
  state.film = state.render = state.live = state.stopFollowing = null;
  remember();
  enter("welcome");
}

// -------------------------------------------------------------------------------------------------------- preview

let previewTimer = 0;
let previewing = null;

function cancelPreview() {
  clearTimeout(previewTimer);
  previewing?.abort();
  previewing = null;
}

function showPreview(at) {
  enter("preview");
  compare.showStills();
  compare.whole(false);
  $("moment").value = at;
  showClock(at);
  compare.clear();
  schedulePreview(0);
}

function schedulePreview(delay = PREVIEW_DELAY) {
  cancelPreview();
  $("working").hidden = false;
  previewTimer = setTimeout(preview, delay);
}

async function preview() {
  const running = (previewing = new AbortController());
  const { film } = state;
  const at = Number($("moment").value);
  try {
    const original = await api.originalStill(film.id, at, running.signal);
    const painted = await api.paintedStill(film.id, at, look(), running.signal);
    await compare.showPair(original, painted, running.signal);
    if (running.signal.aborted) return;
    compare.images.painted.alt = `The film at ${clock(at)}, painted in the style ${titleOfStyle()}`;
    compare.images.original.alt = `The film at ${clock(at)}`;
    $("caption").textContent = `${film.width} × ${film.height}, ${film.fps} frames a second${film.audio ? ", with sound" : ""}${(film.notes ?? []).map((note) => `; ${note}`).join("")}`;
    hush();
  } catch (problem) {
    complain(problem, problem.status === 404 ? leave : () => schedulePreview(0));
  } finally {
    if (previewing === running) $("working").hidden = true;
  }
}

// --------------------------------------------------------------------------------------------------------- render

async function render() {
  hush();
  cancelPreview();
  $("render").disabled = true;
  try {
    const started = await api.startRender(state.film.id, look());
    follow(started, titleOfStyle());
    say("Rendering has begun");
  } catch (problem) {
    complain(problem, problem.status === 404 ? leave : render);
  } finally {
    $("render").disabled = false;
  }
}

function follow(status, title) {
  state.render = status;
  state.renderTitle = title;
  remember();
  enter("rendering");
  if (status.state !== "running") return showRendering(status);
  showRendering(status);
  state.stopFollowing = api.follow(status.id, showRendering, (problem) => { enter("preview"); complain(problem); });
}

function showRendering(status) {
  const { cancelled = false } = state.render;
  state.render = { ...state.render, ...status };
  // A film may be ready before the word that nobody wants it any more has arrived.
  if (status.state === "done" && !cancelled) return showFilm();
  if (status.state !== "running") {
    state.render = null;
    remember();
    enter("preview");
    if (status.state === "failed") complain(new api.Problem(api.sentence(status.error)), render);
    return;
  }
  const cancel = cancelled ? null : cancelRender;
  if (status.frames === 0) return progress("Preparing", null, "The first frame is being painted", cancel);
  const share = status.total ? Math.min(status.frames / status.total, 1) : null;
  const of = status.total ? ` of ${status.total}` : "";
  const pace = status.fps === null ? "" : `, ${status.fps} a second`;
  const left = status.left === null ? "" : `, ${duration(status.left)} left`;
  const title = share === null ? "Painting" : `Painting, ${Math.floor(share * 100)} %`;
  progress(title, share, `${status.frames}${of} frames${pace}${left}`, cancel);
}

function cancelRender() {
  state.render.cancelled = true;
  $("cancel").hidden = true;
  api.removeRender(state.render.id);
}

function showFilm() {
  const { film, render: rendered } = state;
  compare.showFiles(api.originalUrl(film.id), api.renderedUrl(rendered.id), (layer) => {
    if (layer === "original") showOriginalStill();
    else complain(new api.Problem("This browser cannot play the painted film. Its download is complete."));
  });
  $("download").href = api.downloadUrl(rendered.id);
  $("caption").textContent = `${state.renderTitle}, ${rendered.frames} frames painted in ${duration(rendered.seconds)}`;
  enter("done");
  $("moment").value = 0;
  showClock(0);
  say("The film is ready");
}

function showOriginalStill() {
  compare.stillForOriginal(api.stillUrl(state.film.id, compare.videos.painted.currentTime));
}

// ----------------------------------------------------------------------------------------------------------- live

async function startCamera() {
  hush();
  await leave();
  enter("connecting");
  progress("Waiting for the camera", null, "The browser may ask you for it", null);
  let live = null;
  try {
    const camera = await openCamera(state.studio.limits.live_side);
    live = state.live = new Live(camera, {
      report: (report) => { $("caption").textContent = `${report.fps} frames a second, ${Math.round(report.paint_ms)} ms of painting`; },
      end: (problem) => { leave(); complain(problem, startCamera); },
    });
    progress("Connecting", null, "The first frame is being painted", () => leave());
    const painted = await live.start(look());
    const { width = 4, height = 3 } = camera.getVideoTracks()[0].getSettings();
    compare.ratio(width, height);
    compare.whole(false);
    compare.seam(0);
    compare.showStreams(camera, painted);
    $("caption").textContent = "Preparing";
    enter("live");
    live.send(look());
    say("The camera is being painted");
  } catch (problem) {
    live?.close();
    if (state.live === live) await leave();
    complain(problem, startCamera);
  }
}

// ---------------------------------------------------------------------------------------------------------- clock

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const duration = (seconds) => (seconds < 90 ? `${Math.max(Math.round(seconds), 1)} s` : `${Math.round(seconds / 60)} min`);
const megabytes = (bytes) => `${(bytes / 1024 / 1024).toFixed(bytes < 10e6 ? 1 : 0)} MB`;

function showClock(at) {
  const end = state.film?.seconds;
  $("clock").textContent = end ? `${clock(at)} / ${clock(end)}` : clock(at);
  $("moment").setAttribute("aria-valuetext", clock(at));
  fill($("moment"));
}

// --------------------------------------------------------------------------------------------------------- wiring

function wire() {
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    $("file").value = "";
    if (file) take(file);
  });
  $("camera").addEventListener("click", startCamera);
  $("leave").addEventListener("click", leave);
  $("stop").addEventListener("click", leave);
  $("render").addEventListener("click", render);
  $("cancel").addEventListener("click", () => state.cancel?.());
  $("dismiss").addEventListener("click", hush);
  $("retry").addEventListener("click", () => { const again = state.retry; hush(); again?.(); });
  $("back").addEventListener("click", () => { hush(); showFilm(); });
  for (const id of ["strength", "calm", "colour"]) $(id).addEventListener("input", lookChanged);

  const film = compare.videos.painted;
  $("moment").addEventListener("input", () => {
    const at = Number($("moment").value);
    showClock(at);
    if (state.mode === "done") film.currentTime = at;
    else schedulePreview();
  });
  film.addEventListener("timeupdate", () => {
    if (state.mode !== "done") return;
    $("moment").value = film.currentTime;
    showClock(film.currentTime);
  });
  $("play").addEventListener("click", () => (film.paused ? (film.ended && (film.currentTime = 0), film.play()) : film.pause()));
  for (const event of ["play", "pause", "ended", "seeked"]) film.addEventListener(event, () => {
    $("play").classList.toggle("playing", !film.paused);
    $("play").setAttribute("aria-label", film.paused ? "Play" : "Pause");
    if (state.mode === "done" && film.paused && compare.videos.original.error) showOriginalStill();
  });

  let depth = 0;
  const dragging = (on) => document.body.classList.toggle("dragging", on);
  addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; dragging(true); });
  addEventListener("dragleave", () => { depth = Math.max(depth - 1, 0); dragging(depth > 0); });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    dragging(false);
    const [file] = event.dataTransfer.files;
    if (!file || !state.studio) return;
    if (["uploading", "rendering"].includes(state.mode)) {
      return complain(new api.Problem("A film is still on its way. Cancel it first, or wait for it."));
    }
    take(file);
  });
}

async function begin() {
  lookChanged();
  try {
    state.studio = await api.describe();
  } catch (problem) {
    return complain(problem, begin);
  }
  const { limits, styles } = state.studio;
  showStyles(styles);
  $("limits").textContent = `mp4, mov, mkv, webm or avi, up to ${limits.minutes} minute${limits.minutes === 1 ? "" : "s"} and ${limits.upload_mb} MB`;
  $("keeping").textContent = `Stays on the studio's machine, for ${limits.keep_minutes} minutes`;
  if (!(await recall())) enter("welcome");
}

wire();
begin();
