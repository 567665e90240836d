// Requests to the studio. All of them throw a Problem whose message is for the guest.

export class Problem extends Error {
  constructor(message, { status = 0, busy = false } = {}) {
    super(message);
    this.status = status;
    this.busy = busy;
  }
}

const LOST = "The studio does not answer. Is it still running?";

async function problemOf(response) {
  let message = `The studio answered with status ${response.status}.`;
  try {
    message = sentence((await response.json()).error ?? message);
  } catch { /* not JSON: the status has to do */ }
  return new Problem(message, { status: response.status, busy: response.status === 503 });
}

export function sentence(text) {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

async function request(method, path, body, signal) {
  const options = { method, signal, headers: {} };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(LOST);
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

const json = async (...args) => (await request(...args)).json();

export const describe = () => json("GET", "/api/studio");
export const removeUpload = (id) => request("DELETE", `/api/uploads/${id}`).catch(() => {});
export const removeRender = (id) => request("DELETE", `/api/renders/${id}`).catch(() => {});
export const startRender = (upload, look) => json("POST", "/api/renders", { upload, look });
export const renderStatus = (id) => json("GET", `/api/renders/${id}`);
export const answerOffer = (sdp, look, signal) => json("POST", "/api/live", { sdp, look }, signal);
export const stillUrl = (id, at) => `/api/uploads/${id}/still.jpg?at=${at.toFixed(3)}`;
export const originalUrl = (id) => `/api/uploads/${id}/video`;
export const renderedUrl = (id) => `/api/renders/${id}/video`;
export const downloadUrl = (id) => `/api/renders/${id}/video?download=true`;

export async function originalStill(id, at, signal) {
  return (await request("GET", stillUrl(id, at), undefined, signal)).blob();
}

export async function paintedStill(id, at, look, signal) {
  return (await request("POST", `/api/uploads/${id}/preview`, { at, look }, signal)).blob();
}

// Sends a file; `onProgress` gets the share that has arrived. fetch() cannot tell it, XMLHttpRequest can.
export function upload(file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const sending = new XMLHttpRequest();
    sending.open("POST", "/api/uploads");
    sending.responseType = "json";
    sending.setRequestHeader("content-type", "application/octet-stream");
    sending.setRequestHeader("x-file-name", encodeURIComponent(file.name).slice(0, 900));
    sending.upload.onprogress = (event) => onProgress(event.loaded / Math.max(event.total, 1));
    sending.onload = () => {
      if (sending.status === 201) return resolve(sending.response);
      const message = sending.response?.error ?? `the studio answered with status ${sending.status}`;
      reject(new Problem(sentence(message), { status: sending.status, busy: sending.status === 503 }));
    };
    // A file that is refused early ends the connection before its answer is read.
    sending.onerror = () => reject(new Problem("The video could not be sent: the studio refused it or does not answer."));
    sending.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => sending.abort());
    sending.send(file);
  });
}

// Follows a render until it is over; asks again where the stream of events breaks.
export function follow(id, onStatus, onProblem) {
  const events = new EventSource(`/api/renders/${id}/events`);
  let failures = 0;
  let left = false;
  events.onmessage = (event) => {
    failures = 0;
    const status = JSON.parse(event.data);
    if (status.state !== "running") events.close();
    onStatus(status);
  };
  events.onerror = async () => {
    failures += 1;
    if (failures < 4 && events.readyState !== EventSource.CLOSED) return;
    events.close();
    try {
      const status = await renderStatus(id);
      if (!left) onStatus(status);
    } catch (problem) {
      if (!left) onProblem(problem);
    }
  };
  return () => {
    left = true;
    events.close();
  };
}
