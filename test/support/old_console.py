# Copyright 2026 The teleop_webrtc_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""An old operator console, from docs/protocol.md: what its page offers."""

from __future__ import annotations

#: Opens a peer connection as an old console does and returns its offer. ``microphone`` is how it
#: adds one, in the order ``order`` of the letters v(ideo), a(udio) and d(ata).
OFFER_JS = """
async ({order, microphone}) => {
  const pc = window.pc = new RTCPeerConnection();
  const addAudio = () => {
    const sound = new AudioContext().createMediaStreamDestination().stream;
    const [track] = sound.getAudioTracks();
    track.enabled = false;
    if (microphone === 'addTrack') pc.addTrack(track, sound);
    else if (microphone === 'track') {
      pc.addTransceiver(track, {direction: 'sendonly', streams: [sound]});
    } else pc.addTransceiver('audio', {direction: microphone});
  };
  const add = {
    v: () => pc.addTransceiver('video', {direction: 'recvonly'}),
    a: addAudio,
    d: () => pc.createDataChannel('_sctp_init'),
  };
  for (const letter of order) add[letter]();
  const gathered = new Promise((resolve) => {
    pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve();
  });
  await pc.setLocalDescription(await pc.createOffer());
  await gathered;
  return pc.localDescription.sdp;
}
"""

ANSWER_JS = "(sdp) => pc.setRemoteDescription({type: 'answer', sdp})"

#: Takes the broker's video_offer, shows the video, and returns the answer.
VIDEO_ANSWER_JS = """
async (sdp) => {
  const video = document.createElement('video');
  video.muted = video.autoplay = true;
  document.body.append(video);
  pc.ontrack = (event) => { video.srcObject = new MediaStream([event.track]); };
  await pc.setRemoteDescription({type: 'offer', sdp});
  await pc.setLocalDescription(await pc.createAnswer());
  return pc.localDescription.sdp;
}
"""

SHOWS_VIDEO_JS = (
    "() => document.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames > 3"
)
