// The camera, sent to the studio and received painted, over WebRTC.

import { answerOffer, Problem, sentence } from "/api.js";

const CONNECT_MS = 15000;

export async function openCamera(side) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Problem("Browsers give the camera to secure addresses only. Open the studio on its own machine, or through https.");
  }
  try {
    const size = { width: { ideal: side }, height: { ideal: Math.round(side * 0.75) } };
    return await navigator.mediaDevices.getUserMedia({ video: { ...size, frameRate: { ideal: 24, max: 30 } } });
  } catch (error) {
    const known = {
      NotAllowedError: "The camera was not allowed. Allow it in the browser's address bar, then try again.",
      NotFoundError: "No camera was found.",
      NotReadableError: "The camera is in use by another program.",
    };
    throw new Problem(known[error.name] ?? `The camera cannot be used: ${error.message}`);
  }
}

export class Live {
  // `on.report` gets the studio's reports, `on.end` a Problem or nothing when the connection is over.
  constructor(camera, on) {
    this.camera = camera;
    this.on = on;
    this.peer = new RTCPeerConnection({ iceServers: [] });
    this.stopping = new AbortController();
    this.closed = false;
    this.channel = this.peer.createDataChannel("look");
    this.channel.onmessage = (event) => this.#hear(JSON.parse(event.data));
    camera.getVideoTracks()[0].addEventListener("ended", () => this.#end(new Problem("The camera was switched off.")));
  }

  // Resolves with the painted stream once its first frame can be shown.
  async start(look) {
    const { peer, camera } = this;
    const painted = new Promise((resolve) => { peer.ontrack = (event) => resolve(event.streams[0] ?? new MediaStream([event.track])); });
    peer.addTrack(camera.getVideoTracks()[0], camera);
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer);
    const answer = await answerOffer(peer.localDescription.sdp, look, this.stopping.signal);
    await peer.setRemoteDescription(answer);
    await this.#connected();
    peer.onconnectionstatechange = () => {
      if (["failed", "closed"].includes(peer.connectionState)) this.#end(new Problem("The connection to the studio was lost."));
    };
    return painted;
  }

  send(look) {
    if (this.channel.readyState === "open") this.channel.send(JSON.stringify(look));
  }

  close() {
    this.closed = true;
    this.stopping.abort();
    this.peer.close();
    for (const track of this.camera.getTracks()) track.stop();
  }

  #hear(message) {
    if (message.error) this.#end(new Problem(sentence(message.error)));
    else if (!this.closed) this.on.report(message);
  }

  #end(problem) {
    if (this.closed) return;
    this.close();
    this.on.end(problem);
  }

  #connected() {
    const { peer } = this;
    return new Promise((resolve, reject) => {
      const refuse = () => reject(new Problem("The painted picture did not arrive. WebRTC needs a network between this browser and the studio."));
      const timer = setTimeout(refuse, CONNECT_MS);
      const look = () => {
        if (peer.connectionState === "connected") { clearTimeout(timer); resolve(); }
        if (["failed", "closed"].includes(peer.connectionState)) { clearTimeout(timer); refuse(); }
      };
      peer.onconnectionstatechange = look;
      look();
    });
  }
}

function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve());
    setTimeout(resolve, 3000);
  });
}
