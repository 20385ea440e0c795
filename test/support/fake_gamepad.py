"""A gamepad for pages under test: scripts that stand in for the browser's own pad."""

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

#: Stands in for a pad of the browser; installed before the page loads. `still`: its values do not
#: tremble.
FAKE_PAD = """() => {
    const newPad = () => ({
        id: 'Test pad', index: 0, connected: true, mapping: 'standard', timestamp: 0,
        axes: [0, 0, 0, 0],
        buttons: Array.from({length: 17}, () => ({pressed: false, touched: false, value: 0})),
    });
    const fake = {pads: [newPad(), null, null, null], still: false, focus: true};
    fake.newPad = newPad;
    Object.defineProperty(window, 'fakePads', {value: fake});
    navigator.getGamepads = () => {
        const [pad] = fake.pads;
        if (pad && !fake.still) {
            pad.timestamp = performance.now();
            if (pad.axes) pad.axes[3] = (pad.timestamp % 100) / 10000;
        }
        return fake.pads;
    };
    document.hasFocus = () => fake.focus;
}"""
#: The left shoulder button is held, and the left stick is pushed forward.
HOLD = """(() => {
    const [pad] = fakePads.pads;
    pad.buttons[4] = {pressed: true, touched: true, value: 1};
    pad.axes[1] = -1;
})()"""
HOLD_TURNING = """(() => {
    const [pad] = fakePads.pads;
    pad.buttons[4] = {pressed: true, touched: true, value: 1};
    Object.assign(pad.axes, {1: -1, 2: -1});
})()"""
LET_GO = """(() => {
    const fresh = fakePads.newPad();
    const {axes, buttons} = fresh;
    if (fakePads.pads[0]) Object.assign(fakePads.pads[0], {axes, buttons});
})()"""
PRESS_ESTOP = 'void (fakePads.pads[0].buttons[1] = {pressed: true, touched: true, value: 1})'
UNPLUG = 'void ([fakePads.kept] = fakePads.pads.splice(0, 1, null))'
PLUG = 'void fakePads.pads.splice(0, 1, fakePads.kept)'
