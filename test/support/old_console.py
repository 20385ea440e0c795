"""Old operator console according to docs/protocol.md: its page's offer, and its key lock."""

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

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Opens a peer connection as an old console does and returns its offer. ``microphone`` is the way
#: of adding one; ``order`` is the order of the letters v(ideo), a(udio) and d(ata).
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


class OldConsole:
    """
    The part of an old console that decides whether its keys drive, and which camera is selected.

    :param send: Sends a message on ``state_reliable``.
    """

    CAMERAS = ('cam1', 'cam2')

    def __init__(self, send: Callable[[dict[str, Any]], object]) -> None:
        self.is_stopped = False
        self.posture = 'StandReady'
        self.cameras = ['cam1']
        self._send = send
        self._nonce = 0
        self._waits_for: dict[int, str] = {}

    @property
    def drives(self) -> bool:
        return self.posture == 'StandReady' and not self.is_stopped

    def _request(self, **fields: Any) -> int:
        self._nonce += 1
        self._send({**fields, 'nonce': self._nonce})
        return self._nonce

    def press_estop(self) -> None:
        self.is_stopped, self.posture = True, 'Damp'
        self._request(type='estop')
        self._request(type='sport_cmd', name='Damp')

    def re_arm(self) -> None:
        self.is_stopped = False
        self._request(type='estop_clear')

    def press(self, name: str) -> None:
        """Request a posture."""
        nonce = self._request(type='sport_cmd', name=name)
        self._waits_for[nonce] = name

    def toggle_camera(self, name: str) -> None:
        """Show or hide a camera; at least one camera stays visible."""
        wanted = set(self.cameras) ^ {name}
        if wanted:
            self.cameras = [camera for camera in self.CAMERAS if camera in wanted]
            self._send({'type': 'camera_select', 'cams': self.cameras})

    def receive(self, message: dict[str, Any]) -> None:
        if message['type'] == 'cmd_ack':
            name = self._waits_for.pop(message['nonce'], None)
            if name is not None and message['ok']:
                self.posture = name
        elif message['type'] == 'robot_telemetry' and not self._waits_for:
            state = message['state']
            self.posture = state.get('posture', self.posture)
            # Telemetry can set the stop, but never releases it.
            self.is_stopped = self.is_stopped or state.get('estopped') is True
            if isinstance(cameras := state.get('cams'), list):
                known = [camera for camera in cameras if camera in self.CAMERAS]
                self.cameras = known or ['cam1']
